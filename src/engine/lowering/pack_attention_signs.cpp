#include <algorithm>
#include <cmath>

#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/strided_view.h"

// Attention between signs whose result is only read as signs writes these.
namespace ounce::engine {
namespace {

constexpr int64_t kWordBits = 64;

bool keeps_memory(const Node& node) {
  static constexpr std::string_view kViews[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze",
                                                "Identity"};
  return std::find(std::begin(kViews), std::end(kViews), node.op) != std::end(kViews);
}

/// The attention whose result, under another shape perhaps, is all that `packing` alone reads.
int attention_before(const Graph& graph, const GraphIndex& index, const Node& packing) {
  ValueId value = packing.input(0);
  for (;;) {
    const int producer = index.producer(value);
    if (producer < 0 || !index.has_single_use(value)) return -1;
    const Node& node = graph.nodes[static_cast<size_t>(producer)];
    if (node.op == internal::kBitAttention) return producer;
    if (!keeps_memory(node)) return -1;
    value = node.input(0);
  }
}

/// Whether the rows that heads write are whole words.
bool is_made_of_words(const StridedView& view) {
  if (view.shape.back() % kWordBits != 0 || view.offset % kWordBits != 0) return false;
  for (size_t axis = 0; axis + 1 < view.shape.size(); ++axis) {
    if (view.shape[axis] != 1 && view.strides[axis] % kWordBits != 0) return false;
  }
  return view.strides.back() == 1;
}

/// Scales that keep a number's sign.
bool keep_signs(const Node& attention) {
  const std::vector<float> scales = attention.attributes.get_tensor("y_scales")->to_f32();
  return std::all_of(scales.begin(), scales.end(), [](float s) { return std::isnormal(s); });
}

}  // namespace

void pack_attention_signs(Graph& graph) {
  const GraphIndex index(graph);
  std::vector<bool> gone(graph.nodes.size(), false);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& packing = graph.nodes[i];
    if (packing.op != internal::kPackBits || packing.attributes.get_int("is_map", 0) != 0 ||
        packing.attributes.has("x_shift")) {
      continue;
    }
    const int found = attention_before(graph, index, packing);
    if (found < 0) continue;
    Node& attention = graph.nodes[static_cast<size_t>(found)];
    const Shape row = *concrete(*graph.value(packing.input(0)).shape);
    const StridedView view =
        load_view(attention.attributes, "out", *concrete(*graph.value(attention.output(0)).shape));
    if (row.back() % kWordBits != 0 || !is_made_of_words(view) || !keep_signs(attention)) continue;
    store_view(attention.attributes, "out", view);
    attention.attributes.set("signs_only", int64_t{1});
    attention.outputs = {packing.output(0)};
    gone[i] = true;
  }
  size_t i = 0;
  std::erase_if(graph.nodes, [&](const Node&) { return gone[i++]; });
}

}  // namespace ounce::engine
