#include "train/trainer.h"

#include <algorithm>
#include <cmath>

#include <torch/nn/utils/clip_grad.h>

#include "graph/error.h"

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

}  // namespace

Trainer::Trainer(Module& module, TrainerOptions options)
    : module_(module),
      options_(std::move(options)),
      optimizer_(module.parameters(), options_.optimizer) {
  if (options_.accumulate < 1) throw Error("accumulate must be at least 1");
}

bool Trainer::run(const BatchSource& source, const Objective& objective, const Report& report,
                  const EpochEnd& epoch_end) {
  const int64_t steps_per_epoch = source.steps_per_epoch() / options_.accumulate;
  if (steps_per_epoch == 0) throw Error("an epoch has fewer batches than one step accumulates");
  progress_ = {};
  progress_.steps = steps_per_epoch * options_.epochs;
  if (!options_.checkpoint.empty() && std::filesystem::exists(options_.checkpoint)) {
    resume(source);
  }
  module_.set_training(true);
  while (progress_.step < progress_.steps) {
    progress_.epoch = progress_.step / steps_per_epoch;
    take_step(source, objective);
    ++progress_.step;
    const bool ends_epoch = progress_.step % steps_per_epoch == 0;
    if (ends_epoch && epoch_end) {
      epoch_end(progress_);
      module_.set_training(true);
    }
    const bool goes_on = !report || report(progress_);
    const bool due = options_.checkpoint_steps > 0 ? progress_.step % options_.checkpoint_steps == 0
                                                   : ends_epoch;
    if (!options_.checkpoint.empty() && (due || !goes_on)) save();
    if (!goes_on) return false;
  }
  return true;
}

void Trainer::take_step(const BatchSource& source, const Objective& objective) {
  const int64_t steps_per_epoch = source.steps_per_epoch() / options_.accumulate;
  progress_.learning_rate = options_.optimizer.learning_rate *
                            rate_factor(options_.schedule, progress_.step, progress_.steps);
  optimizer_.set_learning_rate(progress_.learning_rate);
  optimizer_.zero_grad();
  double sum = 0;
  for (int64_t i = 0; i < options_.accumulate; ++i) {
    const int64_t index = progress_.step % steps_per_epoch * options_.accumulate + i;
    const Batch batch = source.batch(progress_.epoch, index);
    const at::Tensor loss = objective.loss(batch, progress_);
    const auto value = loss.item<double>();
    if (!std::isfinite(value)) explain_loss(batch);
    sum += value;
    (loss / static_cast<double>(options_.accumulate)).backward();
  }
  progress_.loss = sum / static_cast<double>(options_.accumulate);
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

void Trainer::resume(const BatchSource& source) {
  const at::NoGradGuard no_grad;
  try {
    const Checkpoint checkpoint = read_checkpoint(options_.checkpoint);
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
  if (progress_.step < 0 || progress_.step > progress_.steps || source.steps_per_epoch() < 1) {
    throw Error(options_.checkpoint.string() + ": step " + std::to_string(progress_.step) +
                " is outside of the run's " + std::to_string(progress_.steps));
  }
}

void Trainer::explain_loss(const Batch& batch) const {
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
  const at::Tensor named = logits_of(module, set, normalization, batch_size).argmax(1).cpu();
  return named.eq(set.labels).to(at::kDouble).mean().item<double>();
}

}  // namespace ounce::train
