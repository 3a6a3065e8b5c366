#include "train/trainer.h"

#include <algorithm>
#include <cmath>

#include <torch/nn/utils/clip_grad.h>

#include "graph/error.h"
#include "train/distributed.h"

namespace ounce::train {
namespace {

constexpr const char* kFingerprint = "fingerprint";
constexpr const char* kStep = "step";
const std::string kModel = "model.";
const std::string kOptimizer = "optimizer.";
const std::string kAverage = "average.";

bool is_finite(const at::Tensor& tensor) {
  return !tensor.is_floating_point() || tensor.isfinite().all().item<bool>();
}

void copy_into(at::Tensor target, const at::Tensor& source, const std::string& name) {
  if (target.sizes() != source.sizes()) {
    throw Error("checkpoint's " + name + " has another shape than the model's");
  }
  target.copy_(source);
}

/// The mean over the ranks.
double averaged(double value) {
  const at::Tensor tensor = at::scalar_tensor(value, at::kDouble);
  world().all_reduce(tensor);
  return tensor.item<double>() / world().size();
}

/// Whether all ranks want to: they end together.
bool agreed(bool wish) {
  const at::Tensor tensor = at::scalar_tensor(wish ? 1.0 : 0.0, at::kDouble);
  world().all_reduce(tensor, Reduction::kLeast);
  return tensor.item<double>() != 0.0;
}

}  // namespace

Trainer::Trainer(Module& module, TrainerOptions options)
    : module_(module),
      options_(std::move(options)),
      optimizer_(module.parameters(), options_.optimizer) {
  if (options_.accumulate < 1) throw Error("accumulate must be at least 1");
  module_.set_batches_per_step(options_.accumulate * world().size());
}

bool Trainer::run(const BatchSource& source, const Objective& objective, const Report& report,
                  const EpochEnd& epoch_end) {
  const int64_t steps_per_epoch = source.steps_per_epoch() / options_.accumulate;
  if (steps_per_epoch == 0) throw Error("an epoch has fewer batches than one step accumulates");
  if (source.options().batch_size % world().size() != 0) {
    throw Error("a batch of " + std::to_string(source.options().batch_size) +
                    " has no equal shares for " + std::to_string(world().size()) + " processes",
                "batch", "a multiple of their number");
  }
  progress_ = {};
  progress_.steps = steps_per_epoch * options_.epochs;
  begin();
  const int64_t per_epoch = steps_per_epoch * options_.accumulate;
  Prefetcher batches(source,
                     {per_epoch, progress_.step * options_.accumulate, per_epoch * options_.epochs},
                     options_.loaders);
  module_.set_training(true);
  while (progress_.step < progress_.steps) {
    progress_.epoch = progress_.step / steps_per_epoch;
    take_step(batches, objective);
    ++progress_.step;
    const bool ends_epoch = progress_.step % steps_per_epoch == 0;
    if (ends_epoch && epoch_end) {
      epoch_end(progress_);
      module_.set_training(true);
    }
    const bool goes_on = agreed(!report || report(progress_));
    const bool due = options_.checkpoint_steps > 0 ? progress_.step % options_.checkpoint_steps == 0
                                                   : ends_epoch;
    if (!options_.checkpoint.empty() && (due || !goes_on)) save();
    if (!goes_on) return false;
  }
  return true;
}

void Trainer::take_step(Prefetcher& batches, const Objective& objective) {
  progress_.learning_rate = options_.optimizer.learning_rate *
                            rate_factor(options_.schedule, progress_.step, progress_.steps);
  optimizer_.set_learning_rate(progress_.learning_rate);
  optimizer_.zero_grad();
  double sum = 0;
  for (int64_t i = 0; i < options_.accumulate; ++i) {
    const Batch batch = batches.next();
    const at::Tensor loss = objective.loss(batch, progress_);
    const auto value = loss.item<double>();
    if (!std::isfinite(value)) explain_loss(batch);
    sum += value;
    (loss / static_cast<double>(options_.accumulate)).backward();
  }
  progress_.loss = averaged(sum / static_cast<double>(options_.accumulate));
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& tensor : optimizer_.tensors()) {
    if (tensor.grad().defined()) gradients.push_back(tensor.grad());
  }
  world().average(gradients);
  if (options_.clip_norm > 0) {
    torch::nn::utils::clip_grad_norm_(optimizer_.tensors(), options_.clip_norm);
  }
  optimizer_.step();
  module_.after_step();
  if (options_.ema > 0) average_parameters();
  if (objective.after_step) objective.after_step(progress_);
}

void Trainer::average_parameters() {
  const at::NoGradGuard no_grad;
  for (const Parameter& parameter : module_.parameters()) {
    at::Tensor& average = averages_[parameter.name];
    if (average.defined()) {
      average.lerp_(parameter.tensor, 1 - options_.ema);
    } else {
      average = parameter.tensor.detach().clone();
    }
  }
}

void Trainer::use_average() {
  const at::NoGradGuard no_grad;
  for (const Parameter& parameter : module_.parameters()) {
    const auto found = averages_.find(parameter.name);
    if (found != averages_.end()) at::Tensor(parameter.tensor).copy_(found->second);
  }
}

void Trainer::save() const {
  if (!world().is_first()) return;
  Checkpoint checkpoint;
  checkpoint.facts[kFingerprint] = options_.fingerprint;
  checkpoint.facts[kStep] = std::to_string(progress_.step);
  for (const Parameter& parameter : module_.parameters()) {
    checkpoint.tensors[kModel + parameter.name] = parameter.tensor;
  }
  for (const NamedTensor& buffer : module_.buffers()) {
    checkpoint.tensors[kModel + buffer.name] = buffer.tensor;
  }
  for (const auto& [name, tensor] : optimizer_.state()) {
    checkpoint.tensors[kOptimizer + name] = tensor;
  }
  for (const auto& [name, tensor] : averages_) checkpoint.tensors[kAverage + name] = tensor;
  write_checkpoint(checkpoint, options_.checkpoint);
}

void Trainer::begin() {
  if (const auto checkpoint = find_checkpoint(options_.checkpoint)) {
    resume(*checkpoint);
    return;
  }
  std::vector<at::Tensor> state;
  for (const Parameter& parameter : module_.parameters()) state.push_back(parameter.tensor);
  for (const NamedTensor& buffer : module_.buffers()) state.push_back(buffer.tensor);
  world().broadcast(state);
}

void Trainer::resume(const Checkpoint& checkpoint) {
  const at::NoGradGuard no_grad;
  try {
    if (checkpoint.fact(kFingerprint) != options_.fingerprint) {
      throw Error("is of a run with other settings (remove it to start anew)");
    }
    for (const Parameter& parameter : module_.parameters()) {
      copy_into(parameter.tensor, checkpoint.tensor(kModel + parameter.name), parameter.name);
    }
    for (const NamedTensor& buffer : module_.buffers()) {
      copy_into(buffer.tensor, checkpoint.tensor(kModel + buffer.name), buffer.name);
    }
    std::map<std::string, at::Tensor> state;
    averages_.clear();
    for (const auto& [name, tensor] : checkpoint.tensors) {
      if (name.starts_with(kOptimizer)) state[name.substr(kOptimizer.size())] = tensor;
      if (name.starts_with(kAverage)) averages_[name.substr(kAverage.size())] = tensor;
    }
    optimizer_.load_state(state);
    progress_.step = std::stoll(checkpoint.fact(kStep));
  } catch (const Error& error) {
    throw Error(options_.checkpoint.string() + ": " + error.what());
  } catch (const std::logic_error&) {  // of stoll
    throw Error(options_.checkpoint.string() + ": its step is no number");
  }
  if (progress_.step < 0 || progress_.step > progress_.steps) {
    throw Error(options_.checkpoint.string() + ": step " + std::to_string(progress_.step) +
                " is outside of the run's " + std::to_string(progress_.steps));
  }
}

void Trainer::explain_loss(const Batch& batch) const {
  World alone;
  const Membership membership(alone);  // the others may have finite values
  std::string where = "in the loss itself";
  for (const Parameter& parameter : module_.parameters()) {
    if (!is_finite(parameter.tensor)) where = "in parameter " + parameter.name;
  }
  if (const std::string value = module_.first_not_finite({&batch.inputs, 1}); !value.empty()) {
    where = "first in value " + value;
  }
  throw Error("loss is not finite in step " + std::to_string(progress_.step) + ": " + where +
              " (try a lower learning rate, or clip_norm)");
}

at::Tensor logits_of(Module& module, const ImageSet& set, const Normalization& normalization,
                     int64_t batch_size) {
  const at::NoGradGuard no_grad;
  const bool was_training = module.training();
  module.set_training(false);
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < set.size(); first += batch_size) {
    const ImageSet part = set.slice(first, std::min(batch_size, set.size() - first));
    parts.push_back(module(normalize(part.images, normalization)));
  }
  module.set_training(was_training);
  return at::cat(parts);
}

double accuracy(Module& module, const ImageSet& set, const Normalization& normalization,
                int64_t batch_size) {
  const int64_t first = set.size() * world().rank() / world().size();
  const int64_t end = set.size() * (world().rank() + 1) / world().size();
  const at::Tensor right = at::zeros({}, at::kDouble);
  if (first < end) {
    const ImageSet share = set.slice(first, end - first);
    const at::Tensor named = logits_of(module, share, normalization, batch_size).argmax(1).cpu();
    right.add_(named.eq(share.labels).sum());
  }
  world().all_reduce(right);
  return right.item<double>() / static_cast<double>(set.size());
}

}  // namespace ounce::train
