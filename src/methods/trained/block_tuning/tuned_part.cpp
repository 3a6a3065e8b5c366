#include "methods/trained/block_tuning/tuned_part.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "train/quantizers/straight_through_weight.h"
#include "train/random_mix.h"
#include "train/tensor.h"

namespace ounce::methods {

using quantize::Calibration;
using quantize::LayerPlan;
using quantize::Plan;
using quantize::QuantParams;

TunedGrid::TunedGrid(QuantParams grid, double drop, uint64_t seed)
    : grid_(grid), drop_(drop), random_(seed), log_factor_(at::zeros({1})) {
  log_factor_.set_requires_grad(true);
}

at::Tensor TunedGrid::scale() const {
  return at::exp(log_factor_) * grid_.scale;
}

at::Tensor TunedGrid::fake_quant(const at::Tensor& x, bool training) {
  const train::StepGrid grid = {.codes = {grid_.lowest(), grid_.highest()}};
  const at::Tensor zero_point = at::full({1}, static_cast<float>(grid_.zero_point));
  const at::Tensor rounded = train::round_to_grid(x, scale(), grid, zero_point);
  if (!training || drop_ == 0.0) return rounded;
  return train::mixed_at_random(rounded, x, drop_, random_);
}

QuantParams TunedGrid::grid() const {
  QuantParams learned = grid_;
  learned.scale = scale().item<float>();
  return learned;
}

train::Grid TunedGrid::freeze(const at::Tensor& /*x*/) const {
  return train::AffineGrid{scale().detach(), at::full({1}, grid_.zero_point, at::kLong), 0,
                           grid_.lowest(), grid_.highest()};
}

namespace {

/// Scales that broadcast with their weights.
at::Tensor broadcast_scales(const quantize::QuantizedWeights& weights) {
  const at::Tensor scales = train::to_torch(weights.scales);
  if (scales.numel() == 1) return scales.reshape({});
  const int64_t axis = normalize_axis(weights.axis, weights.codes.rank());
  if (weights.block_size > 0) {
    const int64_t size = weights.codes.shape()[static_cast<size_t>(axis)];
    return scales.repeat_interleave(weights.block_size, axis).narrow(axis, 0, size);
  }
  std::vector<int64_t> shape(weights.codes.shape().size(), 1);
  shape[static_cast<size_t>(axis)] = -1;
  return scales.reshape(shape);
}

/// Makes a FakeQuant node of node `i`, whose output keeps its readers.
void replace_by_fake_quant(Graph& graph, size_t i, ValueId x, const std::string& name) {
  Node& node = graph.nodes[i];
  node.op = "FakeQuant";
  node.name = name;
  node.inputs = {x};
  node.attributes = {};
}

/// Far from those of other grids.
uint64_t seed_of(const TuningChoices& choices, size_t grid) {
  return (choices.seed << 48U) + (static_cast<uint64_t>(grid + 1) << 36U);
}

class PartMaker {
 public:
  PartMaker(const Graph& prepared, const Plan& plan, const Calibration& calibration,
            const TuningChoices& choices, Graph part)
      : prepared_(prepared),
        plan_(plan),
        calibration_(calibration),
        choices_(choices),
        part_(std::move(part)) {}

  TunedPart make(const std::vector<size_t>& layers) {
    for (const size_t layer : layers) {
      const LayerPlan& planned = plan_.layers[layer];
      if (!planned.weights || planned.settings.weights.bits == 1) continue;
      tune_weights(layer);
      free_bias(layer);
    }
    tune_activations();
    part_.sort_topologically();
    part_.remove_dead();
    return {train::Module(std::move(part_), std::move(quantizers_)), std::move(weights_),
            std::move(rounding_), std::move(grids_), std::move(biases_)};
  }

 private:
  Node& node_of(const LayerPlan& planned) {
    const std::string& name = prepared_.nodes[static_cast<size_t>(planned.node)].name;
    return *std::find_if(part_.nodes.begin(), part_.nodes.end(),
                         [&](const Node& one) { return one.name == name; });
  }

  /// The float weights, moved as far as it takes to be rounded to the codes of the calibration:
  /// those that GPTQ chose are not the nearest ones.
  Tensor start_of(size_t layer) const {
    constexpr double kHalf = 0.49;  // of a step
    const quantize::QuantizedWeights& rounded = calibration_.layers[layer].weights;
    const at::Tensor codes = train::to_torch(rounded.codes).to(at::kFloat);
    const at::Tensor scale = broadcast_scales(rounded);
    const Tensor& exact = prepared_.value(plan_.layers[layer].weights->weights).constant;
    const at::Tensor steps = train::to_torch(exact) / scale;
    const at::Tensor near = at::minimum(at::maximum(steps, codes - kHalf), codes + kHalf);
    return train::from_torch((near * scale).contiguous());
  }

  void tune_weights(size_t layer) {
    const LayerPlan& planned = plan_.layers[layer];
    const Tensor weights = start_of(layer);
    const int codes = GraphIndex(part_).producer(node_of(planned).input(1));
    const std::string name = node_of(planned).name;
    const ValueId exact = part_.add_constant(name + ".exact", weights);
    replace_by_fake_quant(part_, static_cast<size_t>(codes), exact, name + ".weights");
    const quantize::WeightCodes range = quantize::weight_codes(planned.settings.weights);
    const train::FixedScale grid = {broadcast_scales(calibration_.layers[layer].weights),
                                    {range.lowest, range.highest}};
    if (choices_.weights == TuningChoices::Weights::kRounding) {
      rounding_[layer] = std::make_shared<train::AdaRoundWeight>(train::to_torch(weights), grid);
      weights_[layer] = rounding_[layer];
    } else {
      weights_[layer] =
          std::make_shared<train::StraightThroughWeight>(train::to_torch(weights), grid);
    }
    quantizers_[name + ".weights"] = weights_[layer];
  }

  /// A bias that is stored in steps of the accumulator becomes a float one: what its rounding
  /// changes is far below what is learned.
  void free_bias(size_t layer) {
    const LayerPlan& planned = plan_.layers[layer];
    const Tensor& bias = calibration_.layers[layer].bias;
    if (!bias.defined()) return;
    if (planned.weights->bias_node >= 0) {
      const std::string& adder =
          prepared_.nodes[static_cast<size_t>(planned.weights->bias_node)].name;
      for (const Node& node : part_.nodes) {
        if (node.name != adder) continue;
        for (const ValueId input : node.inputs) {
          if (part_.constant(input) != nullptr) biases_[layer] = part_.value(input).name;
        }
      }
      return;
    }
    const std::string name = node_of(planned).name + ".bias";
    const ValueId exact = part_.add_constant(name, bias);
    node_of(planned).inputs[2] = exact;
    biases_[layer] = part_.value(exact).name;
  }

  /// The grid of a value that is read as codes, -1 when none of the plan's.
  int grid_of(const std::string& quantized) const {
    constexpr std::string_view kSuffix = "_quantized";
    if (!quantized.ends_with(kSuffix)) return -1;
    const ValueId value = prepared_.find_value(
        std::string_view(quantized).substr(0, quantized.size() - kSuffix.size()));
    return value == kNoValue ? -1 : plan_.grid_of[static_cast<size_t>(value)];
  }

  /// A quantizer for each QuantizeLinear -> DequantizeLinear of activations; one a grid.
  void tune_activations() {
    const GraphIndex index(part_);
    std::map<size_t, std::vector<size_t>> pairs;  // by grid: the DequantizeLinear nodes
    for (size_t i = 0; i < part_.nodes.size(); ++i) {
      const Node& node = part_.nodes[i];
      if (node.op != "DequantizeLinear") continue;
      const int grid = grid_of(part_.value(node.input(0)).name);
      if (grid >= 0 && index.producer(node.input(0)) >= 0)
        pairs[static_cast<size_t>(grid)].push_back(i);
    }
    for (const auto& [grid, nodes] : pairs) {
      auto quantizer = std::make_shared<TunedGrid>(calibration_.grids[grid], choices_.drop,
                                                   seed_of(choices_, grid));
      const quantize::GridPlan& planned = plan_.grids[grid];
      const bool learned = choices_.activation_scales && planned.bits < quantize::kMaxBits &&
                           planned.values.size() == nodes.size();
      if (learned) grids_[grid] = quantizer;
      for (const size_t i : nodes) {
        const Node& quantize =
            part_.nodes[static_cast<size_t>(index.producer(part_.nodes[i].input(0)))];
        const std::string name = part_.nodes[i].name + ".tuned";
        quantizers_[name] = quantizer;
        const ValueId x = quantize.input(0);
        if (learned) open_clip(index.producer(x), calibration_.grids[grid]);
        replace_by_fake_quant(part_, i, x, name);
      }
    }
  }

  /// The Clip that ends a narrow grid's range would stay where it is while the grid is learned: its
  /// ends that are the grid's are the quantizer's to keep.
  void open_clip(int producer, const QuantParams& grid) {
    if (producer < 0 || part_.nodes[static_cast<size_t>(producer)].op != "Clip") return;
    Node& clip = part_.nodes[static_cast<size_t>(producer)];
    const quantize::Range range = grid.range();
    const auto is_end = [&](size_t input, float end) {
      const Tensor* bound = part_.constant(clip.input(input));
      return bound != nullptr && bound->to_f32()[0] == end;
    };
    if (is_end(2, range.high)) clip.inputs.resize(2);
    // At 0 it may be a Relu's as well.
    if (is_end(1, range.low) && range.low < 0.0F) clip.inputs[1] = kNoValue;
  }

  const Graph& prepared_;
  const Plan& plan_;
  const Calibration& calibration_;
  const TuningChoices& choices_;
  Graph part_;
  train::Quantizers quantizers_;
  std::map<size_t, std::shared_ptr<train::FixedScaleWeight>> weights_;
  std::map<size_t, std::shared_ptr<train::AdaRoundWeight>> rounding_;
  std::map<size_t, std::shared_ptr<TunedGrid>> grids_;
  std::map<size_t, std::string> biases_;
};

}  // namespace

TunedPart make_tuned_part(const Graph& prepared, const Plan& plan, const Calibration& calibration,
                          Graph part, const std::vector<size_t>& layers,
                          const TuningChoices& choices) {
  return PartMaker(prepared, plan, calibration, choices, std::move(part)).make(layers);
}

}  // namespace ounce::methods
