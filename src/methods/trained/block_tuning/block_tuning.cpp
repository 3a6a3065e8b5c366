#include "methods/trained/block_tuning/block_tuning.h"

#include <ATen/ATen.h>
#include <torch/optim/adam.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>
#include <random>

#include "engine/session.h"
#include "graph/error.h"
#include "methods/trained/block_tuning/error_weights.h"
#include "methods/trained/block_tuning/saved_blocks.h"
#include "quantize/blocks.h"
#include "quantize/plan/plan.h"
#include "train/random_mix.h"
#include "train/tensor.h"
#include "train/threads.h"

namespace ounce::methods {
namespace {

using quantize::Block;
using quantize::Calibration;
using quantize::Plan;

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

/// Parameters of one learning rate.
void add_group(torch::optim::Adam& optimizer, std::vector<at::Tensor> tensors, double rate) {
  if (tensors.empty() || rate == 0.0) return;
  for (at::Tensor& tensor : tensors) tensor.set_requires_grad(true);
  torch::optim::OptimizerParamGroup group(std::move(tensors));
  group.set_options(std::make_unique<torch::optim::AdamOptions>(rate));
  optimizer.add_param_group(group);
}

void set_rate(torch::optim::OptimizerParamGroup& group, double rate) {
  static_cast<torch::optim::AdamOptions&>(group.options()).lr(rate);
}

class BlockTuner {
 public:
  BlockTuner(const Graph& prepared, const Plan& plan, const BlockTuningOptions& options,
             const quantize::Progress& progress, Calibration& calibration)
      : prepared_(prepared),
        plan_(plan),
        options_(options),
        progress_(progress),
        calibration_(calibration),
        done_(options.saved, options.identity + quantize::to_text(prepared, plan)) {
    for (size_t i = 0; i < plan.layers.size(); ++i) {
      if (plan.layers[i].weights) layer_of_[plan.layers[i].node] = i;
    }
  }

  void run(quantize::InputSource& source) {
    std::vector<int> nodes;
    for (const auto& [node, layer] : layer_of_) nodes.push_back(node);
    const std::vector<Block> blocks = quantize::split_into_blocks(prepared_, nodes);
    if (blocks.empty()) {
      progress_.tell("the network is no chain of blocks: its weights are rounded to nearest");
      return;
    }
    train::set_threads(options_.threads);
    Streams streams;
    quantize::for_each_run(source, "inputs", progress_, [&](const std::vector<Tensor>& inputs) {
      streams.exact.push_back(inputs[0]);
    });
    streams.quantized = streams.exact;
    tell_memory(blocks, streams.exact);
    constexpr int64_t kPasses = 30;
    constexpr int64_t kFewestSteps = 30;
    const auto runs = static_cast<int64_t>(streams.exact.size());
    steps_ = options_.steps > 0 ? options_.steps
                                : std::max(kFewestSteps, kPasses * runs / options_.batch);
    const Dim& pictures = (*prepared_.value(prepared_.inputs[0]).shape)[0];
    stacks_ = !pictures.known() &&
              std::all_of(streams.exact.begin(), streams.exact.end(), [&](const Tensor& input) {
                return input.shape() == streams.exact[0].shape();
              });
    if (options_.fisher) {
      weights_ =
          error_weights(prepared_, results_of(blocks), streams.exact, options_.seed, progress_);
    }
    if (done_.blocks() > 0) {
      progress_.tell("going on behind block " + std::to_string(done_.blocks()) + " of " +
                     std::to_string(blocks.size()));
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
      progress_.step("tuning blocks", static_cast<int64_t>(i), static_cast<int64_t>(blocks.size()));
      if (i < done_.blocks()) {
        for (const LearnedNumbers& unit : done_.units(i)) {
          apply(prepared_, plan_, unit, calibration_);
        }
      } else {
        done_.add_block(tune(blocks[i], streams));
      }
      streams.quantized =
          flow_through(quantized_part(blocks[i]), streams.quantized, options_.threads);
      streams.exact = flow_through(exact_part(blocks[i]), streams.exact, options_.threads);
    }
  }

 private:
  /// What is kept of the data, at the widest border: both streams, what comes next, the targets.
  void tell_memory(const std::vector<Block>& blocks, const std::vector<Tensor>& inputs) const {
    int64_t widest = inputs.empty() ? 0 : inputs[0].size();
    const int64_t rows = inputs.empty() ? 1 : inputs[0].shape()[0];
    for (const Block& block : blocks) {
      const auto& shape = prepared_.value(block.output).shape;
      if (!shape) continue;
      int64_t elements = 1;
      for (const Dim& dim : *shape) elements *= dim.known() ? dim.value : rows;
      widest = std::max(widest, elements);
    }
    constexpr int64_t kTensors = 4;
    const int64_t bytes = kTensors * widest * static_cast<int64_t>(inputs.size() * sizeof(float));
    progress_.tell("tuning keeps " + std::to_string(bytes / 1'000'000) + " MB of activations");
  }

  std::vector<Block> units_of(const Block& block) const {
    if (options_.unit == BlockTuningOptions::Unit::kBlock) return {block};
    std::vector<Block> units;
    for (const int layer : block.layers) {
      units.push_back(quantize::unit_of_layer(prepared_, layer));
    }
    return units;
  }
  std::vector<ValueId> results_of(const std::vector<Block>& blocks) const {
    std::vector<ValueId> results;
    for (const Block& block : blocks) {
      for (const Block& unit : units_of(block)) results.push_back(unit.output);
    }
    return results;
  }

  Graph exact_part(const Block& block) const {
    return quantize::part_of(prepared_, {block.input}, {block.output});
  }
  Graph quantized_part(const Block& block) const {
    const Graph quantized = quantize::insert_qdq(prepared_, plan_, calibration_);
    const auto id = [&](ValueId value) {
      const std::string& name = prepared_.value(value).name;
      const ValueId found = quantized.find_value(name);
      if (found == kNoValue) throw Error("is not in the quantized network", "value '" + name + "'");
      return found;
    };
    return quantize::part_of(quantized, {id(block.input)}, {id(block.output)});
  }

  /// What was learned of `unit`, which lies in `block`, with the streams at the block's border.
  LearnedNumbers tune_unit(const Block& unit, const Block& block, const Streams& at_block) {
    Streams streams = at_block;
    if (unit.input != block.input) {
      const Block before = {0, 0, block.input, unit.input, {}};
      streams.exact = flow_through(exact_part(before), at_block.exact, options_.threads);
      streams.quantized =
          flow_through(quantized_part(before), at_block.quantized, options_.threads);
    }
    std::vector<size_t> layers;
    for (const int node : unit.layers) layers.push_back(layer_of_.at(node));
    TunedPart part = make_tuned_part(prepared_, plan_, calibration_, quantized_part(unit), layers,
                                     options_.choices);
    if (part.weights.empty()) return {};
    // Units draw numbers of their own, so that a run that goes on draws those of one that was never
    // stopped.
    random_.seed(options_.seed + static_cast<uint64_t>(unit.first));
    mask_ = random_();
    const auto weights = weights_.find(unit.output);
    learn(part, streams, flow_through(exact_part(unit), streams.exact, options_.threads),
          weights != weights_.end() ? &weights->second : nullptr);
    LearnedNumbers learned = learned_numbers(prepared_, plan_, calibration_, part);
    apply(prepared_, plan_, learned, calibration_);
    return learned;
  }

  std::vector<LearnedNumbers> tune(const Block& block, const Streams& streams) {
    std::vector<LearnedNumbers> learned;
    for (const Block& unit : units_of(block)) learned.push_back(tune_unit(unit, block, streams));
    return learned;
  }

  torch::optim::Adam make_optimizer(TunedPart& part) const {
    for (const train::Parameter& parameter : part.module.parameters()) {
      at::Tensor(parameter.tensor).set_requires_grad(false);
    }
    std::vector<at::Tensor> weights, biases, scales;
    for (const auto& [layer, quantizer] : part.weights) {
      for (const train::NamedTensor& learned : quantizer->parameters()) {
        weights.push_back(learned.tensor);
      }
    }
    for (const auto& [layer, name] : part.biases) biases.push_back(part.module.tensor(name));
    for (const auto& [grid, quantizer] : part.grids) {
      scales.push_back(quantizer->parameters()[0].tensor);
    }
    torch::optim::Adam optimizer(std::vector<torch::optim::OptimizerParamGroup>{});
    add_group(optimizer, std::move(weights), options_.learning_rate);
    add_group(optimizer, std::move(biases), options_.bias_rate);
    add_group(optimizer, std::move(scales), options_.scale_rate);
    return optimizer;
  }

  /// `weights` of the errors, nullptr: all alike.
  void learn(TunedPart& part, const Streams& streams, const std::vector<Tensor>& targets,
             const ErrorWeights* weights) {
    torch::optim::Adam optimizer = make_optimizer(part);
    std::vector<double> rates;
    for (torch::optim::OptimizerParamGroup& group : optimizer.param_groups()) {
      rates.push_back(static_cast<torch::optim::AdamOptions&>(group.options()).lr());
    }
    for (int64_t step = 0; step < steps_; ++step) {
      if (progress_.interrupted && progress_.interrupted()) throw quantize::Interrupted();
      const double done = static_cast<double>(step) / static_cast<double>(steps_);
      for (size_t i = options_.anneal ? 0 : 1; i < rates.size(); ++i) {
        set_rate(optimizer.param_groups()[i],
                 rates[i] * 0.5 * (1.0 + std::cos(done * std::numbers::pi)));
      }
      const auto beta = beta_at(done);
      for (const auto& [layer, rounding] : part.rounding) rounding->set_beta(beta);
      optimizer.zero_grad();
      const std::vector<size_t> chosen = choose(targets.size());
      const size_t at_once = stacks_ ? chosen.size() : 1;
      for (size_t i = 0; i < chosen.size(); i += at_once) {
        const double share = static_cast<double>(at_once) / static_cast<double>(chosen.size());
        const auto runs = std::span(chosen).subspan(i, at_once);
        (share * loss_of(part, streams, targets, weights, runs)).backward();
      }
      optimizer.step();
    }
  }

  at::Tensor loss_of(TunedPart& part, const Streams& streams, const std::vector<Tensor>& targets,
                     const ErrorWeights* weights, std::span<const size_t> runs) {
    const double drop = options_.choices.drop;
    at::Tensor x = batch_of(streams.quantized, runs);
    if (drop > 0.0) x = train::mixed_at_random(x, batch_of(streams.exact, runs), drop, mask_);
    at::Tensor errors = (part.module(x) - batch_of(targets, runs)).square();
    if (weights != nullptr) errors = errors * weights->of(runs);
    // Summed over an element's features, averaged over elements (pictures, tokens).
    at::Tensor loss = errors.sum(errors.dim() == 4 ? 1 : -1).mean();
    const at::Tensor penalty = part.module.penalty();
    if (penalty.defined()) loss = loss + options_.decisiveness * penalty;
    return loss;
  }

  /// Some of the runs, without repetition.
  std::vector<size_t> choose(size_t count) {
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), size_t{0});
    std::shuffle(order.begin(), order.end(), random_);
    order.resize(std::min(count, static_cast<size_t>(options_.batch)));
    return order;
  }

  const Graph& prepared_;
  const Plan& plan_;
  const BlockTuningOptions& options_;
  const quantize::Progress& progress_;
  Calibration& calibration_;
  SavedBlocks done_;
  std::mt19937_64 random_;
  uint64_t mask_ = 0;                        // state of the choice of elements
  std::map<ValueId, ErrorWeights> weights_;  // by a unit's output
  std::map<int, size_t> layer_of_;           // of a node of `prepared_`, in order
  int64_t steps_ = 0;                        // of each unit
  bool stacks_ = false;                      // whether runs go through the network side by side
};

}  // namespace

BlockTuningOptions tuning_options(const quantize::Options& options, uint64_t seed) {
  BlockTuningOptions tuning;
  switch (options.rounding) {
    case quantize::Rounding::kAdaRound:
      tuning.unit = BlockTuningOptions::Unit::kLayer;
      break;
    case quantize::Rounding::kQdrop:
      tuning.choices.drop = 0.5;
      tuning.choices.activation_scales = true;
      break;
    case quantize::Rounding::kStraightThrough:
      tuning.choices.weights = TuningChoices::Weights::kValues;
      // Chosen on ViT-tiny at W4A4 with 32 pictures. IaS-ViT, whose engine SARDFQ (2412.16553)
      // tunes with, has 4e-5 for everything.
      tuning.learning_rate = 5e-3;
      tuning.bias_rate = 3e-4;
      tuning.choices.activation_scales = true;
      tuning.anneal = true;
      break;
    default:
      break;
  }
  tuning.fisher = options.tuning_loss == quantize::ErrorWeighing::kFisher;
  tuning.steps = options.tuning_steps;
  tuning.seed = seed;
  tuning.choices.seed = seed;
  tuning.threads = options.threads;
  return tuning;
}

quantize::Refinement block_tuning(const BlockTuningOptions& options) {
  quantize::Refinement refine;
  refine.round = [options](const Graph& prepared, const Plan& plan, quantize::InputSource& source,
                           const quantize::Progress& progress, Calibration& calibration) {
    BlockTuner(prepared, plan, options, progress, calibration).run(source);
  };
  return refine;
}

}  // namespace ounce::methods
