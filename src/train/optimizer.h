#pragma once

#include <torch/optim.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "train/module.h"

namespace ounce::train {

enum class OptimizerKind { kSgd, kAdam, kAdamW, kLamb };

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamW;
  double learning_rate = 1e-3;
  double weight_decay = 0;  // of weights; never of biases, norms, embeddings and quantizers
  double momentum = 0.9;    // SGD
  bool nesterov = false;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /// Learning rate of quantizer parameters over that of the others.
  double quantizer_rate = 1;
};

/// An optimizer of the parameters that require gradients, in groups whose learning rates keep their
/// ratios.
class GroupedOptimizer {
 public:
  GroupedOptimizer(const std::vector<Parameter>& parameters, const OptimizerOptions& options);

  /// The rate of the groups of ratio 1.
  void set_learning_rate(double rate);
  void step() { optimizer_->step(); }
  void zero_grad();
  const std::vector<at::Tensor>& tensors() const { return tensors_; }

  /// Moments and step counts by "<parameter>.<what>": all that a resumed run needs.
  std::map<std::string, at::Tensor> state() const;
  /// Throws `Error` naming what is missing or of another shape.
  void load_state(const std::map<std::string, at::Tensor>& state);

 private:
  OptimizerKind kind_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::vector<double> ratios_;  // by group
  std::vector<at::Tensor> tensors_;
  std::vector<std::string> names_;  // of tensors_
};

}  // namespace ounce::train
