#include "methods/trained/block_tuning.h"

#include <ATen/ATen.h>
#include <torch/optim/adam.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>

#include "engine/session.h"
#include "graph/error.h"
#include "quantize/blocks.h"
#include "quantize/insert_qdq.h"
#include "train/module.h"
#include "train/quantizers/ada_round.h"
#include "train/tensor.h"

namespace ounce::methods {
namespace {

using quantize::Block;
using quantize::Calibration;
using quantize::LayerPlan;
using quantize::Plan;

/// An activation on a calibrated grid, of which a share of elements is left float in training.
class DroppedGrid : public train::Quantizer {
 public:
  DroppedGrid(const at::Tensor& scale, const at::Tensor& zero_point, double drop)
      : scale_(scale.reshape({1})),
        zero_point_(zero_point.reshape({1}).to(at::kFloat)),
        drop_(drop) {}

  at::Tensor fake_quant(const at::Tensor& x, bool training) override {
    const train::StepGrid grid = {.codes = {0, 255}};
    const at::Tensor rounded = train::round_to_grid(x, scale_, grid, zero_point_);
    if (!training || drop_ == 0.0) return rounded;
    return at::where(at::rand_like(x) < drop_, x, rounded);
  }
  train::Grid freeze(const at::Tensor& /*x*/) const override {
    return train::AffineGrid{scale_, zero_point_.to(at::kLong), 0, 0, 255};
  }

 private:
  at::Tensor scale_, zero_point_;
  double drop_;
};

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

bool is_tuned(const LayerPlan& layer) {
  return layer.weights.has_value() && layer.settings.weights.bits > 1;
}

/// Makes a FakeQuant node of node `i`, whose output keeps its readers.
void replace_by_fake_quant(Graph& graph, size_t i, ValueId x, const std::string& name) {
  Node& node = graph.nodes[i];
  node.op = "FakeQuant";
  node.name = name;
  node.inputs = {x};
  node.attributes = {};
}

/// The quantized part of a network as it is tuned.
struct TunedPart {
  train::Module module;
  std::map<size_t, std::shared_ptr<train::AdaRoundWeight>> rounding;  // by layer of the plan
};

class PartMaker {
 public:
  PartMaker(const Graph& prepared, const Plan& plan, const Calibration& calibration, double drop)
      : prepared_(prepared), plan_(plan), calibration_(calibration), drop_(drop) {}

  TunedPart make(Graph part, const std::vector<size_t>& layers) {
    std::map<size_t, std::shared_ptr<train::AdaRoundWeight>> rounding;
    for (const size_t layer : layers) {
      if (is_tuned(plan_.layers[layer])) rounding[layer] = round_weights(part, layer);
    }
    drop_activations(part);
    part.sort_topologically();
    return {train::Module(std::move(part), std::move(quantizers_)), std::move(rounding)};
  }

 private:
  std::shared_ptr<train::AdaRoundWeight> round_weights(Graph& part, size_t layer) {
    const LayerPlan& planned = plan_.layers[layer];
    const std::string& name = prepared_.nodes[static_cast<size_t>(planned.node)].name;
    const Tensor& weights = prepared_.value(planned.weights->weights).constant;
    const GraphIndex index(part);
    const auto node = std::find_if(part.nodes.begin(), part.nodes.end(),
                                   [&](const Node& one) { return one.name == name; });
    const int codes = index.producer(node->input(1));
    const std::string quantizer = name + ".rounding";
    const ValueId exact = part.add_constant(name + ".exact", weights);
    replace_by_fake_quant(part, static_cast<size_t>(codes), exact, quantizer);
    const quantize::WeightCodes range = quantize::weight_codes(planned.settings.weights);
    auto rounding = std::make_shared<train::AdaRoundWeight>(
        train::to_torch(weights),
        train::AdaRoundOptions{broadcast_scales(calibration_.layers[layer].weights),
                               {range.lowest, range.highest}});
    quantizers_[quantizer] = rounding;
    return rounding;
  }

  /// QuantizeLinear -> DequantizeLinear of activations on one grid a tensor.
  void drop_activations(Graph& part) {
    const GraphIndex index(part);
    for (size_t i = 0; i < part.nodes.size(); ++i) {
      const Node& dequantize = part.nodes[i];
      if (dequantize.op != "DequantizeLinear") continue;
      const int producer = index.producer(dequantize.input(0));
      if (producer < 0) continue;
      const Node& quantize = part.nodes[static_cast<size_t>(producer)];
      const Tensor* scale = part.constant(quantize.input(1));
      const Tensor* zero_point = part.constant(quantize.input(2));
      if (quantize.op != "QuantizeLinear" || scale == nullptr || zero_point == nullptr) continue;
      const std::string name = dequantize.name + ".dropped";
      quantizers_[name] = std::make_shared<DroppedGrid>(train::to_torch(*scale),
                                                        train::to_torch(*zero_point), drop_);
      replace_by_fake_quant(part, i, quantize.input(0), name);
    }
  }

  const Graph& prepared_;
  const Plan& plan_;
  const Calibration& calibration_;
  double drop_;
  train::Quantizers quantizers_;
};

/// AdaRound's schedule: no penalty in the first fifth, then beta falls from 20 to 2.
std::optional<double> beta_at(double progress) {
  constexpr double kStart = 0.2;
  if (progress < kStart) return std::nullopt;
  return 20.0 - 18.0 * (progress - kStart) / (1.0 - kStart);
}

/// The flow through the network, border by border, of all runs.
struct Streams {
  std::vector<Tensor> exact;      // of the float network
  std::vector<Tensor> quantized;  // of the network that is quantized so far
};

std::vector<Tensor> flow_through(const Graph& part, const std::vector<Tensor>& inputs,
                                 int threads) {
  engine::SessionOptions options;
  options.threads = threads;
  engine::Session session(part, options);
  std::vector<Tensor> outputs;
  for (const Tensor& input : inputs) outputs.push_back(session.run({&input, 1})[0]);
  return outputs;
}

at::Tensor batch_of(const std::vector<Tensor>& runs, std::span<const size_t> chosen) {
  std::vector<at::Tensor> tensors;
  for (const size_t run : chosen) tensors.push_back(train::to_torch(runs[run]));
  return tensors.size() == 1 ? tensors[0] : at::cat(tensors, 0);
}

class BlockTuner {
 public:
  BlockTuner(const Graph& prepared, const Plan& plan, const BlockTuningOptions& options,
             Calibration& calibration)
      : prepared_(prepared),
        plan_(plan),
        options_(options),
        calibration_(calibration),
        random_(options.seed) {
    for (size_t i = 0; i < plan.layers.size(); ++i) {
      if (plan.layers[i].weights) layer_of_[plan.layers[i].node] = i;
    }
  }

  void run(quantize::InputSource& source, const quantize::Progress& progress) {
    std::vector<int> nodes;
    for (const auto& [node, layer] : layer_of_) nodes.push_back(node);
    const std::vector<Block> blocks = quantize::split_into_blocks(prepared_, nodes);
    if (blocks.empty()) {
      progress.tell("the network is no chain of blocks: its weights are rounded to nearest");
      return;
    }
    Streams streams;
    quantize::for_each_run(source, "inputs", progress, [&](const std::vector<Tensor>& inputs) {
      streams.exact.push_back(inputs[0]);
    });
    streams.quantized = streams.exact;
    const Dim& pictures = (*prepared_.value(prepared_.inputs[0]).shape)[0];
    batch_ = pictures.known() ? 1 : options_.batch;
    for (size_t i = 0; i < blocks.size(); ++i) {
      progress.step("tuning blocks", static_cast<int64_t>(i), static_cast<int64_t>(blocks.size()));
      tune(blocks[i], streams, progress);
    }
  }

 private:
  Graph exact_part(const Block& block) const {
    return quantize::part_of(prepared_, {block.input}, {block.output});
  }
  Graph quantized_part(const Block& block) const {
    const Graph quantized = quantize::insert_qdq(prepared_, plan_, calibration_);
    const auto id = [&](ValueId value) {
      return quantized.find_value(prepared_.value(value).name);
    };
    return quantize::part_of(quantized, {id(block.input)}, {id(block.output)});
  }

  /// Of `unit`, which lies in `block`, with the streams at the block's border.
  void tune_unit(const Block& unit, const Block& block, const Streams& at_block,
                 const quantize::Progress& progress) {
    Streams streams = at_block;
    if (unit.input != block.input) {
      const Block before = {0, 0, block.input, unit.input, {}};
      streams.exact = flow_through(exact_part(before), at_block.exact, options_.threads);
      streams.quantized =
          flow_through(quantized_part(before), at_block.quantized, options_.threads);
    }
    std::vector<size_t> layers;
    for (const int node : unit.layers) layers.push_back(layer_of_.at(node));
    TunedPart part =
        PartMaker(prepared_, plan_, calibration_, options_.drop).make(quantized_part(unit), layers);
    if (part.rounding.empty()) return;
    learn(part, streams, flow_through(exact_part(unit), streams.exact, options_.threads), progress);
    for (const auto& [layer, rounding] : part.rounding) {
      const Tensor& weights = prepared_.value(plan_.layers[layer].weights->weights).constant;
      calibration_.layers[layer].weights.codes =
          train::from_torch(rounding->codes(train::to_torch(weights)));
    }
  }

  void tune(const Block& block, Streams& streams, const quantize::Progress& progress) {
    if (options_.unit == BlockTuningOptions::Unit::kBlock) {
      tune_unit(block, block, streams, progress);
    } else {
      for (const int layer : block.layers) {
        tune_unit(quantize::unit_of_layer(prepared_, layer), block, streams, progress);
      }
    }
    streams.quantized = flow_through(quantized_part(block), streams.quantized, options_.threads);
    streams.exact = flow_through(exact_part(block), streams.exact, options_.threads);
  }

  void learn(TunedPart& part, const Streams& streams, const std::vector<Tensor>& targets,
             const quantize::Progress& progress) {
    for (const train::Parameter& parameter : part.module.parameters()) {
      const bool is_learned = parameter.kind == train::ParameterKind::kQuantizer;
      at::Tensor(parameter.tensor).set_requires_grad(is_learned);
    }
    std::vector<at::Tensor> learned;
    for (const auto& [layer, rounding] : part.rounding) {
      for (const train::NamedTensor& parameter : rounding->parameters()) {
        learned.push_back(parameter.tensor);
      }
    }
    torch::optim::Adam optimizer(learned, torch::optim::AdamOptions(options_.learning_rate));
    at::manual_seed(random_());
    for (int64_t step = 0; step < options_.steps; ++step) {
      if (progress.interrupted && progress.interrupted()) throw quantize::Interrupted();
      const std::vector<size_t> chosen = choose(targets.size());
      at::Tensor x = batch_of(streams.quantized, chosen);
      if (options_.drop > 0.0) {
        const at::Tensor exact = batch_of(streams.exact, chosen);
        x = at::where(at::rand_like(x) < options_.drop, exact, x);
      }
      const auto beta = beta_at(static_cast<double>(step) / static_cast<double>(options_.steps));
      for (const auto& [layer, rounding] : part.rounding) rounding->set_beta(beta);
      optimizer.zero_grad();
      const at::Tensor difference = part.module(x) - batch_of(targets, chosen);
      // Summed over an element's features, averaged over elements (pictures, tokens).
      at::Tensor loss = difference.square().sum(difference.dim() == 4 ? 1 : -1).mean();
      if (beta) loss = loss + options_.decisiveness * part.module.penalty();
      loss.backward();
      optimizer.step();
    }
  }

  /// Some of the runs, without repetition.
  std::vector<size_t> choose(size_t count) {
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), size_t{0});
    std::shuffle(order.begin(), order.end(), random_);
    order.resize(std::min(count, static_cast<size_t>(batch_)));
    return order;
  }

  const Graph& prepared_;
  const Plan& plan_;
  const BlockTuningOptions& options_;
  Calibration& calibration_;
  std::mt19937_64 random_;
  std::map<int, size_t> layer_of_;  // of a node of `prepared_`, in order
  int64_t batch_ = 1;
};

}  // namespace

BlockTuningOptions tuning_options(const quantize::Options& options, uint64_t seed) {
  BlockTuningOptions tuning;
  if (options.rounding == quantize::Rounding::kAdaRound) {
    tuning.unit = BlockTuningOptions::Unit::kLayer;
  }
  tuning.drop = options.rounding == quantize::Rounding::kQdrop ? 0.5 : 0.0;
  tuning.steps = options.tuning_steps;
  tuning.seed = seed;
  tuning.threads = options.threads;
  return tuning;
}

quantize::Refinement block_tuning(const BlockTuningOptions& options) {
  return [options](const Graph& prepared, const Plan& plan, quantize::InputSource& source,
                   const quantize::Progress& progress, Calibration& calibration) {
    BlockTuner(prepared, plan, options, calibration).run(source, progress);
  };
}

}  // namespace ounce::methods
