#include "quantize/insert_qdq.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

#include "engine/reference/reference.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"

namespace ounce::quantize {
namespace {

class Inserter {
 public:
  Inserter(const Graph& prepared, const Plan& plan, const Calibration& calibration)
      : source_(prepared),
        plan_(plan),
        calibration_(calibration),
        index_(source_),
        graph_(prepared) {}

  Graph run() {
    for (size_t i = 0; i < plan_.grids.size(); ++i) insert_grid(i);
    for (size_t i = 0; i < plan_.binarizers.size(); ++i) insert_binarizer(i);
    for (const LayerPlan& layer : plan_.layers) insert_log_quantizer(layer);
    for (size_t i = 0; i < plan_.layers.size(); ++i) insert_layer(i);
    for (const ValueId embedding : plan_.embeddings) insert_embedding(embedding);
    graph_.sort_topologically();
    eliminate_no_ops(graph_);  // the Identity nodes of `prepare`
    graph_.remove_dead();
    InferOptions inference;
    inference.evaluator = &engine::reference::evaluator();
    infer_shapes(graph_, inference);
    graph_.validate();
    return std::move(graph_);
  }

 private:
  void insert_grid(size_t grid) {
    const QuantParams& params = calibration_.grids[grid];
    const std::string base = source_.value(plan_.grids[grid].values.front()).name;
    const ValueId scale = graph_.add_constant(base + "_scale", Tensor::scalar(params.scale));
    const ValueId zero_point = graph_.add_constant(
        base + "_zero_point", Tensor::scalar(static_cast<uint8_t>(params.zero_point)));
    const std::vector<ValueId>& sources = plan_.grids[grid].sources;
    for (const ValueId value : plan_.grids[grid].values) {
      const bool computed = std::find(sources.begin(), sources.end(), value) != sources.end();
      const ValueId in_range =
          computed && params.bits < kMaxBits ? clip(value, params.range()) : value;
      insert_pair(value, in_range, scale, zero_point);
    }
  }

  void insert_pair(ValueId value, ValueId in_range, ValueId scale, ValueId zero_point) {
    const std::string name = source_.value(value).name;
    const auto shape = source_.value(value).shape;
    const ValueId codes = graph_.add_node("QuantizeLinear", {in_range, scale, zero_point}, {},
                                          name + "_QuantizeLinear");
    rename(codes, name + "_quantized", DType::u8, shape);
    const ValueId back = graph_.add_node("DequantizeLinear", {codes, scale, zero_point}, {},
                                         name + "_DequantizeLinear");
    rename(back, name + "_dequantized", DType::f32, shape);
    for (const int reader : index_.consumers(value)) {
      if (!plan_.reads_codes(index_, reader, value)) continue;
      for (ValueId& input : graph_.nodes[static_cast<size_t>(reader)].inputs) {
        if (input == value) input = back;
      }
    }
  }

  /// Comes after the grids: what the layers read by now is what the others read, codes or not.
  void insert_binarizer(size_t i) {
    const BinarizerPlan& binarizer = plan_.binarizers[i];
    ValueId binarized = kNoValue;
    for (const LayerPlan& layer : plan_.layers) {
      if (!layer.reads_signs()) continue;
      const auto node = static_cast<size_t>(layer.node);
      for (size_t operand = 0; operand < (layer.weights ? 1U : 2U); ++operand) {
        if (source_.nodes[node].input(operand) != binarizer.value) continue;
        if (binarized == kNoValue) {
          binarized = binarize(binarizer, graph_.nodes[node].inputs[operand],
                               calibration_.binarizer_scales[i]);
        }
        graph_.nodes[node].inputs[operand] = binarized;
      }
    }
  }

  ValueId binarize(const BinarizerPlan& binarizer, ValueId seen, float scale) {
    const Value& value = source_.value(binarizer.value);
    AttributeMap attributes;
    if (binarizer.is_unsigned) attributes.set("unsigned", int64_t{1});
    const ValueId scale_id =
        graph_.add_constant(value.name + "_binary_scale", Tensor::scalar(scale));
    const ValueId binarized = graph_.add_node("Binarize", {seen, scale_id}, std::move(attributes),
                                              value.name + "_Binarize");
    rename(binarized, value.name + "_binarized", DType::f32, value.shape);
    return binarized;
  }

  /// One a layer: a softmax map has one reader.
  void insert_log_quantizer(const LayerPlan& layer) {
    if (layer.map_bits == 0) return;
    const ValueId operand = graph_.nodes[static_cast<size_t>(layer.node)].inputs[0];
    const Value value = graph_.value(operand);
    AttributeMap attributes;
    attributes.set("bits", int64_t{layer.map_bits});
    if (plan_.softmax == SoftmaxCodes::kLogSqrt2) {
      attributes.set("steps_per_octave", int64_t{2});
      attributes.set("zero_below", int64_t{1});
    }
    const ValueId codes = graph_.add_node("LogQuantize", {operand}, std::move(attributes),
                                          value.name + "_LogQuantize");
    rename(codes, value.name + "_log_quantized", DType::f32, value.shape);
    graph_.nodes[static_cast<size_t>(layer.node)].inputs[0] = codes;
  }

  void rename(ValueId id, const std::string& name, DType dtype,
              const std::optional<SymbolicShape>& shape) {
    graph_.rename_value(id, name);
    Value& value = graph_.value(id);
    value.dtype = dtype;
    value.shape = shape;
  }

  /// Codes of a narrow grid end where the grid ends.
  ValueId clip(ValueId value, Range range) {
    const int producer = index_.producer(value);
    if (producer >= 0 && merge_clip(producer, value, range)) return value;
    const std::string name = source_.value(value).name;
    const ValueId clipped = graph_.add_node(
        "Clip", {value, constant(range.low), constant(range.high)}, {}, name + "_Clip");
    rename(clipped, name + "_clipped", DType::f32, source_.value(value).shape);
    return clipped;
  }

  /// Relu and Clip take over the range, when nobody but the quantizer reads their output.
  bool merge_clip(int producer, ValueId value, Range range) {
    Node& node = graph_.nodes[static_cast<size_t>(producer)];
    if (index_.is_output(value) || (node.op != "Relu" && node.op != "Clip")) return false;
    for (const int reader : index_.consumers(value)) {
      if (!plan_.reads_codes(index_, reader, value)) return false;
    }
    float low = range.low;
    float high = range.high;
    if (node.op == "Relu") {
      low = std::max(low, 0.0F);
    } else {
      for (const size_t end : {size_t{1}, size_t{2}}) {
        if (node.input(end) == kNoValue) continue;
        const Tensor* bound = graph_.constant(node.input(end));
        if (bound == nullptr || bound->dtype() != DType::f32) return false;
        const float given = bound->to_f32()[0];
        (end == 1 ? low : high) = end == 1 ? std::max(low, given) : std::min(high, given);
      }
    }
    const ValueId data = node.input(0);
    const std::vector<ValueId> inputs = {data, constant(low), constant(high)};
    Node& merged = graph_.nodes[static_cast<size_t>(producer)];
    merged.op = "Clip";
    merged.inputs = inputs;
    merged.attributes = {};
    return true;
  }

  ValueId constant(float number) {
    return graph_.add_constant("clip_bound", Tensor::scalar(number));
  }

  void insert_layer(size_t i) {
    const LayerPlan& plan = plan_.layers[i];
    if (!plan.weights) return;
    const QuantizedLayer& layer = calibration_.layers[i];
    const auto node = static_cast<size_t>(plan.node);
    if (plan.reads_dynamic_grid()) insert_dynamic_grid(plan);
    const std::string name = source_.value(plan.weights->weights).name;
    const Tensor codes = pack_codes(layer.weights.codes, layer.bits);
    const Tensor zeros =
        codes.dtype() == DType::u1 ? Tensor() : Tensor(codes.dtype(), layer.weights.scales.shape());
    AttributeMap attributes;
    if (layer.weights.scales.rank() > 0) attributes.set("axis", layer.weights.axis);
    if (layer.weights.block_size > 0) attributes.set("block_size", layer.weights.block_size);
    const ValueId weights =
        dequantized_constant(name, codes, layer.weights.scales, zeros, std::move(attributes));
    graph_.nodes[node].inputs[1] = weights;
    if (layer.bias.defined()) insert_bias(plan, layer, name);
  }

  /// Layers that read a value alike share what rounds it.
  void insert_dynamic_grid(const LayerPlan& plan) {
    ValueId& operand = graph_.nodes[static_cast<size_t>(plan.node)].inputs[0];
    const Value& value = source_.value(source_.nodes[static_cast<size_t>(plan.node)].input(0));
    const bool per_token = plan.settings.activation_grid == ActivationGrid::kDynamicToken;
    const auto [found, added] =
        dynamic_.try_emplace({operand, plan.settings.activation_bits, per_token}, kNoValue);
    if (added) {
      AttributeMap attributes;
      attributes.set("bits", int64_t{plan.settings.activation_bits});
      attributes.set("per_token", int64_t{per_token});
      const std::string name = value.name + "_dynamic" + std::to_string(dynamic_.size());
      found->second = graph_.add_node("DynamicFakeQuant", {operand}, std::move(attributes), name);
      rename(found->second, name, DType::f32, value.shape);
    }
    graph_.nodes[static_cast<size_t>(plan.node)].inputs[0] = found->second;
  }

  ValueId dequantized_weights(const std::string& name, const Tensor& codes,
                              const QuantizedWeights& weights) {
    const bool standard = codes.dtype() == DType::i8 || codes.dtype() == DType::i4;
    const Tensor zeros = standard ? Tensor(codes.dtype(), weights.scales.shape()) : Tensor();
    AttributeMap attributes;
    if (weights.scales.rank() > 0) attributes.set("axis", weights.axis);
    if (weights.block_size > 0) attributes.set("block_size", weights.block_size);
    return dequantized_constant(name, codes, weights.scales, zeros, std::move(attributes));
  }

  /// Rows are the last axis: a position's or a word's vector.
  void insert_embedding(ValueId embedding) {
    const Value& value = source_.value(embedding);
    const int64_t rank = value.constant.rank();
    const QuantizedWeights weights =
        quantize_weights(value.constant, {rank - 2, rank - 1}, WeightOptions(), value.name);
    const ValueId stored = dequantized_weights(value.name, weights.codes, weights);
    for (const int reader : index_.consumers(embedding)) {
      Node& node = graph_.nodes[static_cast<size_t>(reader)];
      if (node.op != "Add" && node.op != "Gather") continue;
      std::replace(node.inputs.begin(), node.inputs.end(), embedding, stored);
    }
  }

  void insert_bias(const LayerPlan& plan, const QuantizedLayer& layer, const std::string& name) {
    const auto node = static_cast<size_t>(plan.node);
    if (plan.weights->bias_node >= 0) {
      const ValueId old = plan.weights->bias;
      const ValueId bias =
          graph_.add_constant(source_.value(old).name + "_rounded",
                              layer.bias.reshaped(source_.value(old).constant.shape()));
      for (ValueId& input : graph_.nodes[static_cast<size_t>(plan.weights->bias_node)].inputs) {
        if (input == old) input = bias;
      }
      return;
    }
    const ValueId old = plan.weights->bias;
    const std::string bias_name = old == kNoValue ? name + "_bias" : source_.value(old).name;
    ValueId bias = kNoValue;
    if (layer.bias_codes.defined()) {
      AttributeMap attributes;
      attributes.set("axis", int64_t{0});
      bias = dequantized_constant(bias_name, layer.bias_codes, layer.bias_scales,
                                  Tensor(DType::i32, layer.bias_scales.shape()),
                                  std::move(attributes));
    } else {
      bias = graph_.add_constant(bias_name + "_corrected", layer.bias);
    }
    graph_.nodes[node].inputs.resize(3, kNoValue);
    graph_.nodes[node].inputs[2] = bias;
  }

  /// `zeros` may be undefined.
  ValueId dequantized_constant(const std::string& name, const Tensor& codes, const Tensor& scales,
                               const Tensor& zeros, AttributeMap attributes) {
    std::vector<ValueId> inputs = {graph_.add_constant(name + "_quantized", codes),
                                   graph_.add_constant(name + "_scale", scales)};
    if (zeros.defined()) inputs.push_back(graph_.add_constant(name + "_zero_point", zeros));
    const ValueId back = graph_.add_node("DequantizeLinear", inputs, std::move(attributes),
                                         name + "_DequantizeLinear");
    rename(back, name + "_dequantized", DType::f32, symbolic(codes.shape()));
    return back;
  }

  const Graph& source_;
  const Plan& plan_;
  const Calibration& calibration_;
  GraphIndex index_;
  Graph graph_;
  std::map<std::tuple<ValueId, int, bool>, ValueId> dynamic_;  // by what is read, bits, per token
};

}  // namespace

Graph insert_qdq(const Graph& prepared, const Plan& plan, const Calibration& calibration) {
  return Inserter(prepared, plan, calibration).run();
}

Calibration placeholder_calibration(const Graph& prepared, const Plan& plan) {
  Calibration calibration;
  for (const GridPlan& grid : plan.grids) {
    calibration.grids.push_back(grid.ternary ? ternary_params(1.0F)
                                             : affine_params({-1.0F, 1.0F}, grid.bits));
  }
  calibration.binarizer_scales.assign(plan.binarizers.size(), 1.0F);
  for (const LayerPlan& plan_layer : plan.layers) {
    QuantizedLayer& layer = calibration.layers.emplace_back();
    if (!plan_layer.weights) continue;
    const Shape& shape = prepared.value(plan_layer.weights->weights).constant.shape();
    const WeightOptions& options = plan_layer.settings.weights;
    WeightOptions cheap = options;
    cheap.rule = WeightRule::kMinMax;
    layer.bits = options.bits;
    layer.weights = quantize_weights(Tensor(DType::f32, shape), plan_layer.weights->axes, cheap,
                                     prepared.value(plan_layer.weights->weights).name);
    const int64_t channels = shape[static_cast<size_t>(plan_layer.weights->axes.channel)];
    if (plan_layer.weights->bias == kNoValue) continue;
    layer.bias = Tensor(DType::f32, {channels});
    if (!plan_layer.reads_grid()) continue;
    layer.bias_codes = Tensor(DType::i32, {channels});
    layer.bias_scales =
        Tensor::of(std::vector<float>(static_cast<size_t>(channels), 1.0F), {channels});
  }
  return calibration;
}

}  // namespace ounce::quantize
