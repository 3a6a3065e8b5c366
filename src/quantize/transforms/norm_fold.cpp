#include "quantize/transforms/norm_fold.h"

#include <algorithm>
#include <functional>
#include <string>

#include "graph/error.h"
#include "graph/ops/shape_rules.h"
#include "quantize/node_kind.h"
#include "quantize/transforms/layer_edits.h"

namespace ounce::quantize {
namespace {

const Node& at(const Graph& graph, int node) {
  return graph.nodes[static_cast<size_t>(node)];
}

/// Extent of the last axis, or -1.
int64_t last_extent(const Graph& graph, ValueId id) {
  const auto& shape = graph.value(id).shape;
  return shape && !shape->empty() ? shape->back().value : -1;
}

/// Whether all axes that an operator works along (attribute or constant input) leave the last one
/// alone.
bool spares_last_axis(const Graph& graph, const Node& node, std::span<const int64_t> axes) {
  const auto& shape = graph.value(node.input(0)).shape;
  if (!shape) return false;
  const auto rank = static_cast<int64_t>(shape->size());
  return !axes.empty() && std::all_of(axes.begin(), axes.end(), [&](int64_t axis) {
    return normalize_axis(axis, rank) != rank - 1;
  });
}

/// Whether a node moves rows without touching what is in them: rows of its output 0 are rows of its
/// input 0.
bool moves_rows(const Graph& graph, const Node& node) {
  if (node.op == "Identity" || node.op == "Dropout") return true;
  if (node.op == "Reshape" || node.op == "Squeeze" || node.op == "Unsqueeze" ||
      node.op == "Flatten") {
    const int64_t extent = last_extent(graph, node.input(0));
    return extent > 0 && extent == last_extent(graph, node.output(0));
  }
  if (node.op == "Transpose") {
    const auto perm = node.attributes.get_ints("perm", {});
    return !perm.empty() && perm.back() == static_cast<int64_t>(perm.size()) - 1;
  }
  if (node.op == "Gather" || node.op == "Split") {
    return spares_last_axis(graph, node, std::vector{node.attributes.get_int("axis", 0)});
  }
  if (node.op == "Slice") {
    const Tensor* axes = graph.constant(node.input(3));
    return axes != nullptr && spares_last_axis(graph, node, axes->to_i64());
  }
  return false;
}

/// The constant f32 vector of a normalization with one number a channel.
bool is_channel_vector(const Graph& graph, ValueId id, int64_t channels) {
  const Tensor* constant = graph.constant(id);
  return constant != nullptr && constant->dtype() == DType::f32 && constant->rank() == 1 &&
         constant->size() == channels;
}

bool is_foldable_norm(const Graph& graph, const Node& node, int64_t channels) {
  if (node.op != "LayerNormalization" && node.op != "RMSNorm") return false;
  const int64_t axis = node.attributes.get_int("axis", -1);
  const auto& shape = graph.value(node.input(0)).shape;
  if (!shape || normalize_axis(axis, static_cast<int64_t>(shape->size())) !=
                    static_cast<int64_t>(shape->size()) - 1) {
    return false;
  }
  const bool sane_bias =
      node.input(2) == kNoValue || is_channel_vector(graph, node.input(2), channels);
  return is_channel_vector(graph, node.input(1), channels) && sane_bias;
}

/// Follows what a normalization hands out. False where something else than a linear layer reads it.
bool collect_layers(const Graph& graph, const GraphIndex& index, ValueId value, NormFold& fold) {
  if (index.is_output(value)) return false;
  fold.values.push_back(value);
  for (const int reader : index.consumers(value)) {
    const Node& node = at(graph, reader);
    if (node.op == "Shape" || node.op == "Size") continue;
    if (node.input(0) != value) return false;
    if (kind_of(graph, index, reader) == NodeKind::kProduct && node.op != "Conv") {
      fold.layers.push_back(reader);
      continue;
    }
    if (!moves_rows(graph, node)) return false;
    for (const ValueId output : node.outputs) {
      if (output != kNoValue && !collect_layers(graph, index, output, fold)) return false;
    }
  }
  return true;
}

}  // namespace

std::vector<NormFold> norm_folds(const Graph& graph) {
  const GraphIndex index(graph);
  std::vector<NormFold> folds;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const int64_t channels = node.output(0) == kNoValue ? -1 : last_extent(graph, node.output(0));
    if (channels < 1 || !is_foldable_norm(graph, node, channels)) continue;
    NormFold fold;
    fold.norm = static_cast<int>(i);
    fold.channels = channels;
    fold.has_offset = node.op == "LayerNormalization" && node.input(2) != kNoValue;
    if (!collect_layers(graph, index, node.output(0), fold) || fold.layers.empty()) continue;
    std::sort(fold.layers.begin(), fold.layers.end());
    folds.push_back(std::move(fold));
  }
  return folds;
}

void fold_into_norm(Graph& graph, const NormFold& fold, std::span<const float> scales,
                    std::span<const float> shifts) {
  const bool shifted = !shifts.empty();
  if (static_cast<int64_t>(scales.size()) != fold.channels ||
      (shifted && (shifts.size() != scales.size() || !fold.has_offset))) {
    throw Error("scales or shifts do not fit", "node '" + at(graph, fold.norm).name + "'");
  }
  const std::span<float> gamma = own_constant(graph, fold.norm, 1).mutable_data<float>();
  for (size_t c = 0; c < scales.size(); ++c) gamma[c] /= scales[c];
  if (fold.has_offset) {
    const std::span<float> beta = own_constant(graph, fold.norm, 2).mutable_data<float>();
    for (size_t c = 0; c < scales.size(); ++c) {
      beta[c] = beta[c] / scales[c] - (shifted ? shifts[c] : 0.0F);
    }
  }
  // x = scales (x' + shifts).
  std::vector<float> offsets;
  if (shifted) {
    offsets.resize(shifts.size());
    std::transform(shifts.begin(), shifts.end(), scales.begin(), offsets.begin(),
                   std::multiplies<>());
  }
  for (const ValueId id : fold.values) mark_changed(graph, id);
  // From the last: a bias that is inserted moves what is behind it.
  for (auto layer = fold.layers.rbegin(); layer != fold.layers.rend(); ++layer) {
    absorb_affine(graph, *layer, scales, offsets);
  }
}

}  // namespace ounce::quantize
