#include "train/freeze.h"

#include <algorithm>
#include <map>

#include "graph/error.h"
#include "graph/operator.h"
#include "graph/rewrite.h"
#include "train/tensor.h"

namespace ounce::train {
namespace {

/// Weights as they are stored: value = scale * code.
struct FrozenWeight {
  at::Tensor codes;  // int8
  at::Tensor scale;  // f64, [] or [extent of axis]
  int64_t axis = 0;
  DType dtype = DType::i8;
};

DType narrowest(int64_t lowest, int64_t highest) {
  if (lowest >= -2 && highest <= 1) return DType::i2;
  if (lowest >= -4 && highest <= 3) return DType::i3;
  if (lowest >= -8 && highest <= 7) return DType::i4;
  if (lowest >= -128 && highest <= 127) return DType::i8;
  throw Error("codes " + std::to_string(lowest) + " .. " + std::to_string(highest) +
              " do not fit 8 bits");
}

/// A scale of one element, or one for each slice along `axis`, shaped to broadcast over `rank`.
at::Tensor along_axis(const at::Tensor& scale, int64_t axis, int64_t rank) {
  if (scale.numel() == 1) return scale.reshape({});
  std::vector<int64_t> shape(static_cast<size_t>(rank), 1);
  shape[static_cast<size_t>(normalize_axis(axis, rank))] = scale.numel();
  return scale.reshape(shape);
}

FrozenWeight freeze_weight(Quantizer& quantizer, const at::Tensor& weight) {
  const at::NoGradGuard no_grad;
  const at::Tensor rounded =
      quantizer.fake_quant(weight, /*training=*/false).to(at::kCPU, at::kDouble);
  const Grid grid = quantizer.freeze(weight);
  FrozenWeight frozen;
  if (const auto* signs = std::get_if<SignGrid>(&grid)) {
    if (signs->is_map) throw Error("a map of zeros and ones cannot hold weights");
    frozen.scale = signs->scale.detach().to(at::kCPU, at::kDouble).flatten();
    frozen.axis = normalize_axis(signs->axis, weight.dim());
    frozen.dtype = DType::u1;
    frozen.codes = at::where(rounded < 0, -1, 1).to(at::kChar);
  } else {
    const auto& affine = std::get<AffineGrid>(grid);
    if (affine.zero_point.defined() && affine.zero_point.count_nonzero().item<int64_t>() != 0) {
      throw Error("weights have a zero point, for which no kernel is");
    }
    frozen.scale = affine.scale.detach().to(at::kCPU, at::kDouble).flatten();
    frozen.axis = normalize_axis(affine.axis, weight.dim());
    frozen.dtype = narrowest(affine.lowest, affine.highest);
    // A dead channel has scale 0 and codes 0.
    const at::Tensor scale = along_axis(frozen.scale, frozen.axis, rounded.dim());
    const at::Tensor codes = at::where(scale == 0, at::zeros({}, at::kDouble), rounded / scale);
    frozen.codes = codes.round().clamp(affine.lowest, affine.highest).to(at::kChar);
  }
  const at::Tensor back =
      frozen.codes.to(at::kDouble) * along_axis(frozen.scale, frozen.axis, rounded.dim());
  const double error = (back - rounded).abs().max().item<double>();
  if (!(error <= 1e-5 * rounded.abs().max().item<double>())) {
    throw Error("rounded weights are off their grid by " + std::to_string(error));
  }
  return frozen;
}

class Freezer {
 public:
  explicit Freezer(const Module& module)
      : module_(module), graph_(module.graph()), index_(graph_), editor_(graph_) {}

  Graph run() {
    const auto count = static_cast<int>(graph_.nodes.size());
    for (int n = 0; n < count; ++n) collect_weight(n);
    for (int n = 0; n < count; ++n) fold_batch_norm(n);
    for (int n = 0; n < count; ++n) {
      if (graph_.nodes[static_cast<size_t>(n)].op != "FakeQuant") continue;
      if (const auto found = weights_.find(n); found != weights_.end()) {
        emit_weight(n, found->second);
      } else {
        emit_activation(n);
      }
    }
    editor_.commit();
    graph_.remove_dead();
    infer_shapes(graph_);
    graph_.validate();
    return std::move(graph_);
  }

 private:
  Quantizer& quantizer(const Node& node) const { return *module_.quantizers().at(node.name); }

  void collect_weight(int n) {
    const Node& node = graph_.nodes[static_cast<size_t>(n)];
    if (node.op != "FakeQuant" || graph_.constant(node.input(0)) == nullptr) return;
    try {
      weights_[n] = freeze_weight(quantizer(node), to_torch(*graph_.constant(node.input(0))));
    } catch (const Error& error) {
      throw Error("node " + node.name + ": " + error.what());
    }
  }

  /// Conv(x, DQ(codes)) -> BatchNormalization: per output channel c, y = g (conv + b - m) / s + t.
  void fold_batch_norm(int n) {
    const Node& norm = graph_.nodes[static_cast<size_t>(n)];
    if (norm.op != "BatchNormalization") return;
    const int conv_index = index_.producer(norm.input(0));
    if (conv_index < 0 || !index_.has_single_use(norm.input(0))) return;
    const Node conv = graph_.nodes[static_cast<size_t>(conv_index)];
    if (conv.op != "Conv") return;
    const int fake_quant = index_.producer(conv.input(1));
    const auto found = weights_.find(fake_quant);
    if (found == weights_.end() || !index_.has_single_use(conv.input(1))) return;
    FrozenWeight& weight = found->second;
    if (weight.scale.numel() > 1 && weight.axis != 0) return;
    const auto vector = [&](ValueId id) {
      const Tensor* constant = graph_.constant(id);
      return constant == nullptr ? at::Tensor() : to_torch(*constant).to(at::kDouble);
    };
    const at::Tensor gamma = vector(norm.input(1));
    const at::Tensor beta = vector(norm.input(2));
    const at::Tensor mean = vector(norm.input(3));
    const at::Tensor variance = vector(norm.input(4));
    const at::Tensor bias =
        conv.input(2) == kNoValue ? at::zeros_like(beta) : vector(conv.input(2));
    if (!gamma.defined() || !beta.defined() || !mean.defined() || !variance.defined() ||
        !bias.defined()) {
      return;
    }
    const at::Tensor factor =
        gamma / (variance + norm.attributes.get_float("epsilon", 1e-5F)).sqrt();
    scale_channels(weight, factor);
    const Tensor folded = from_torch(((bias - mean) * factor + beta).to(at::kFloat));
    editor_.replace(
        n, "Conv",
        {conv.input(0), conv.input(1), editor_.add_constant(conv.name + "_bias", folded)},
        conv.attributes);
    editor_.erase(conv_index);
  }

  /// Codes whose grid has two equal halves change sign with their channel; scales of others do.
  static void scale_channels(FrozenWeight& weight, const at::Tensor& factor) {
    at::Tensor scale = weight.scale * factor;
    const at::Tensor lowest = weight.codes.to(at::kInt).min();
    const bool flips =
        weight.dtype == DType::u1 || lowest.item<int>() >= -weight.codes.max().item<int>();
    if (flips) {
      const at::Tensor negative = along_axis(scale < 0, 0, weight.codes.dim());
      weight.codes = at::where(negative, weight.codes.neg(), weight.codes);
      scale = scale.abs();
    }
    weight.scale = scale;
    weight.axis = 0;
  }

  void emit_weight(int n, const FrozenWeight& weight) {
    const Node& node = graph_.nodes[static_cast<size_t>(n)];
    const std::string name = graph_.value(node.input(0)).name;
    const bool per_tensor = weight.scale.numel() == 1;
    const at::Tensor scale = per_tensor ? weight.scale.reshape({}) : weight.scale;
    const Tensor scales = from_torch(scale.to(at::kFloat));
    std::vector<ValueId> inputs = {
        editor_.add_constant(name + "_quantized", cast(from_torch(weight.codes), weight.dtype)),
        editor_.add_constant(name + "_scale", scales)};
    if (weight.dtype != DType::u1) {
      inputs.push_back(
          editor_.add_constant(name + "_zero_point", Tensor(weight.dtype, scales.shape())));
    }
    AttributeMap attributes;
    if (!per_tensor) attributes.set("axis", weight.axis);
    editor_.replace(n, "DequantizeLinear", inputs, attributes);
  }

  void emit_activation(int n) {
    const Node node = graph_.nodes[static_cast<size_t>(n)];
    try {
      const Grid grid = quantizer(node).freeze(at::Tensor());
      if (const auto* signs = std::get_if<SignGrid>(&grid)) {
        emit_signs(n, node, *signs);
      } else {
        emit_codes(n, node, std::get<AffineGrid>(grid));
      }
    } catch (const Error& error) {
      throw Error("node " + node.name + ": " + error.what());
    }
  }

  /// sign(GELU(x)) = sign(x): the layer before may then write signs at once.
  ValueId before_gelu(ValueId value) const {
    const int producer = index_.producer(value);
    if (producer < 0 || graph_.nodes[static_cast<size_t>(producer)].op != "Gelu") return value;
    return graph_.nodes[static_cast<size_t>(producer)].input(0);
  }

  void emit_signs(int n, const Node& node, const SignGrid& grid) {
    AttributeMap attributes;
    const ValueId x = grid.is_map ? node.input(0) : before_gelu(node.input(0));
    if (grid.is_map) attributes.set("unsigned", int64_t{1});
    if (grid.scale.numel() > 1) attributes.set("axis", grid.axis);
    const ValueId scale = editor_.add_constant(node.name + "_scale", scale_constant(grid.scale));
    editor_.replace(n, "Binarize", {x, scale}, attributes);
  }

  void emit_codes(int n, const Node& node, const AffineGrid& grid) {
    const int64_t codes = grid.highest - grid.lowest + 1;
    if (codes > 256) throw Error(std::to_string(codes) + " codes do not fit 8 bits");
    const at::Tensor shifted =
        (grid.zero_point.detach().to(at::kCPU, at::kLong) - grid.lowest).reshape_as(grid.scale);
    if (shifted.lt(0).any().item<bool>() || shifted.gt(255).any().item<bool>()) {
      throw Error("a zero point lies outside of the 256 codes there are; range [" +
                  std::to_string(grid.lowest) + ", " + std::to_string(grid.highest) + "]");
    }
    const ValueId scale = editor_.add_constant(node.name + "_scale", scale_constant(grid.scale));
    Tensor zeros = from_torch(shifted.to(at::kByte));
    if (zeros.size() == 1) zeros = zeros.reshaped({});
    const ValueId zero_point = editor_.add_constant(node.name + "_zero_point", zeros);
    AttributeMap attributes;
    if (zeros.size() > 1) attributes.set("axis", grid.axis);
    ValueId x = node.input(0);
    if (codes < 256) x = clip(n, x, grid, shifted, codes - 1);
    const ValueId quantized =
        editor_.insert(n, "QuantizeLinear", "QuantizeLinear", {x, scale, zero_point}, attributes);
    editor_.replace(n, "DequantizeLinear", {quantized, scale, zero_point}, attributes);
  }

  /// Codes of a narrow grid end where the grid ends.
  ValueId clip(int n, ValueId x, const AffineGrid& grid, const at::Tensor& zero_point,
               int64_t highest) {
    const at::Tensor scale = grid.scale.detach().to(at::kCPU);
    at::Tensor low = -zero_point * scale;
    at::Tensor high = (highest - zero_point) * scale;
    if (scale.numel() == 1) {
      return editor_.insert(n, "Clip", "Clip",
                            {x, bound(low.reshape({})), bound(high.reshape({}))});
    }
    const auto& shape = graph_.value(x).shape;
    if (!shape) throw Error("an activation with a scale for each slice needs a known rank");
    const auto rank = static_cast<int64_t>(shape->size());
    low = along_axis(low, grid.axis, rank);
    high = along_axis(high, grid.axis, rank);
    const ValueId above = editor_.insert(n, "Max", "Max", {x, bound(low)});
    return editor_.insert(n, "Min", "Min", {above, bound(high)});
  }

  ValueId bound(const at::Tensor& value) {
    return editor_.add_constant("clip_bound", from_torch(value.to(at::kFloat)));
  }

  static Tensor scale_constant(const at::Tensor& scale) {
    const Tensor values = from_torch(scale.detach().to(at::kFloat).flatten());
    return values.size() == 1 ? values.reshaped({}) : values;
  }

  const Module& module_;
  Graph graph_;
  GraphIndex index_;
  GraphEditor editor_;
  std::map<int, FrozenWeight> weights_;  // by FakeQuant node
};

}  // namespace

Graph freeze(const Module& module) {
  return Freezer(module).run();
}

}  // namespace ounce::train
