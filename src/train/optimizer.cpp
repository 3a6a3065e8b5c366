#include "train/optimizer.h"

#include <map>
#include <utility>

#include "graph/error.h"
#include "train/lamb.h"

namespace ounce::train {
namespace {

using TorchOptions = std::unique_ptr<torch::optim::OptimizerOptions>;

TorchOptions torch_options(const OptimizerOptions& options, double rate, double decay) {
  if (options.kind == OptimizerKind::kSgd) {
    auto sgd = std::make_unique<torch::optim::SGDOptions>(rate);
    sgd->momentum(options.momentum).nesterov(options.nesterov).weight_decay(decay);
    return sgd;
  }
  const auto adam = [&](auto made) {
    made->betas({options.beta1, options.beta2}).eps(options.epsilon).weight_decay(decay);
    return made;
  };
  if (options.kind == OptimizerKind::kAdamW) {
    return adam(std::make_unique<torch::optim::AdamWOptions>(rate));
  }
  return adam(std::make_unique<torch::optim::AdamOptions>(rate));
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(
    OptimizerKind kind, std::vector<torch::optim::OptimizerParamGroup> groups) {
  switch (kind) {
    case OptimizerKind::kSgd:
      return std::make_unique<torch::optim::SGD>(groups, torch::optim::SGDOptions(0));
    case OptimizerKind::kAdam:
      return std::make_unique<torch::optim::Adam>(groups);
    case OptimizerKind::kAdamW:
      return std::make_unique<torch::optim::AdamW>(groups);
    case OptimizerKind::kLamb:
      break;
  }
  return std::make_unique<Lamb>(groups);
}

/// The key under which libtorch's optimizers keep the state of a tensor.
std::string key_of(const at::Tensor& tensor) {
  return c10::guts::to_string(tensor.unsafeGetTensorImpl());
}

using State = std::map<std::string, at::Tensor>;

template <class Adam>
void read_moments(const Adam& from, const std::string& name, State& state) {
  state[name + ".step"] = at::scalar_tensor(from.step(), at::kLong);
  state[name + ".exp_avg"] = from.exp_avg();
  state[name + ".exp_avg_sq"] = from.exp_avg_sq();
}

at::Tensor stored(const State& state, const std::string& name, const at::Tensor& like) {
  const auto found = state.find(name);
  if (found == state.end()) throw Error("checkpoint has no " + name);
  if (found->second.sizes() != like.sizes()) {
    throw Error("checkpoint's " + name + " has another shape than the model's");
  }
  return found->second.to(like.device()).clone();
}

template <class Adam>
std::unique_ptr<torch::optim::OptimizerParamState> written_moments(const State& state,
                                                                   const std::string& name,
                                                                   const at::Tensor& like) {
  auto fresh = std::make_unique<Adam>();
  fresh->step(stored(state, name + ".step", at::zeros({})).template item<int64_t>());
  fresh->exp_avg(stored(state, name + ".exp_avg", like));
  fresh->exp_avg_sq(stored(state, name + ".exp_avg_sq", like));
  return fresh;
}

}  // namespace

GroupedOptimizer::GroupedOptimizer(const std::vector<Parameter>& parameters,
                                   const OptimizerOptions& options)
    : kind_(options.kind) {
  // By learning rate, the decayed weights apart.
  std::map<std::pair<bool, double>, std::vector<at::Tensor>> members;
  for (const Parameter& parameter : parameters) {
    if (!parameter.tensor.requires_grad()) continue;
    const bool is_quantizer = parameter.kind == ParameterKind::kQuantizer;
    const double ratio = parameter.rate * (is_quantizer ? options.quantizer_rate : 1.0);
    members[{parameter.kind == ParameterKind::kWeight, ratio}].push_back(parameter.tensor);
    tensors_.push_back(parameter.tensor);
    names_.push_back(parameter.name);
  }
  if (tensors_.empty()) throw Error("the model has nothing to learn");
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (const auto& [key, tensors] : members) {
    const auto [decays, ratio] = key;
    ratios_.push_back(ratio);
    groups.emplace_back(tensors, torch_options(options, options.learning_rate * ratio,
                                               decays ? options.weight_decay : 0.0));
  }
  optimizer_ = make_optimizer(options.kind, std::move(groups));
}

void GroupedOptimizer::set_learning_rate(double rate) {
  std::vector<torch::optim::OptimizerParamGroup>& groups = optimizer_->param_groups();
  for (size_t i = 0; i < groups.size(); ++i) groups[i].options().set_lr(rate * ratios_[i]);
}

void GroupedOptimizer::zero_grad() {
  for (at::Tensor& tensor : tensors_) tensor.mutable_grad().reset();
}

State GroupedOptimizer::state() const {
  State result;
  const auto& states = optimizer_->state();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const auto found = states.find(key_of(tensors_[i]));
    if (found == states.end()) continue;  // no gradient has reached it yet
    const torch::optim::OptimizerParamState& state = *found->second;
    if (kind_ == OptimizerKind::kSgd) {
      const auto& sgd = static_cast<const torch::optim::SGDParamState&>(state);
      if (sgd.momentum_buffer().defined()) result[names_[i] + ".momentum"] = sgd.momentum_buffer();
    } else if (kind_ == OptimizerKind::kAdamW) {
      read_moments(static_cast<const torch::optim::AdamWParamState&>(state), names_[i], result);
    } else {
      read_moments(static_cast<const torch::optim::AdamParamState&>(state), names_[i], result);
    }
  }
  return result;
}

void GroupedOptimizer::load_state(const State& state) {
  auto& states = optimizer_->state();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const std::string& name = names_[i];
    auto& slot = states[key_of(tensors_[i])];
    const bool has_moments = state.contains(name + ".step");
    if (kind_ == OptimizerKind::kSgd && state.contains(name + ".momentum")) {
      auto fresh = std::make_unique<torch::optim::SGDParamState>();
      fresh->momentum_buffer(stored(state, name + ".momentum", tensors_[i]));
      slot = std::move(fresh);
    } else if (kind_ == OptimizerKind::kAdamW && has_moments) {
      slot = written_moments<torch::optim::AdamWParamState>(state, name, tensors_[i]);
    } else if (kind_ != OptimizerKind::kSgd && has_moments) {
      slot = written_moments<torch::optim::AdamParamState>(state, name, tensors_[i]);
    } else {
      states.erase(key_of(tensors_[i]));
    }
  }
}

}  // namespace ounce::train
