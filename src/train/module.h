#pragma once

#include <ATen/ATen.h>

#include <map>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "train/op.h"
#include "train/quantizer.h"

namespace ounce::train {

/// What a parameter does, for rules such as "no weight decay on norms and biases".
enum class ParameterKind { kWeight, kBias, kNorm, kEmbedding, kQuantizer };

struct Parameter {
  std::string name;  // of the constant in the graph, or "<FakeQuant node>.<name>"
  at::Tensor tensor;
  ParameterKind kind = ParameterKind::kWeight;
  double rate = 1;  // learning rate over that of the others of its kind
};

/// A graph that libtorch runs and differentiates.
///
/// Float constants become parameters: those that convolutions, products, normalisations and PRelu
/// read as their weights, and all others of more than one element. Running statistics of
/// BatchNormalization become buffers. Everything else stays as it is. The graph is interpreted as
/// written.
class Module {
 public:
  /// Throws `Error` naming the first node that cannot run here. `quantizers` has one entry a
  /// FakeQuant node.
  explicit Module(Graph graph, Quantizers quantizers = {});

  struct Result {
    std::vector<at::Tensor> outputs;  // in the order of the graph's
    std::map<std::string, at::Tensor> taps;
  };

  /// Runs the graph. `inputs` in the order of the graph's, `taps` names of values to hand back too.
  /// Throws `Error` naming node and cause.
  Result forward(std::span<const at::Tensor> inputs, const std::vector<std::string>& taps = {});
  /// The first output alone.
  at::Tensor operator()(const at::Tensor& input);

  /// Name of the first value, in order, that holds a NaN or an infinity for these inputs; empty
  /// when none does. Runs as `forward` does.
  std::string first_not_finite(std::span<const at::Tensor> inputs);

  /// Statistics of the batch, dropout and learning of ranges on or off. On at first.
  void set_training(bool training) { training_ = training; }
  bool training() const { return training_; }

  /// All that is learned; an optimizer takes the tensors. Order and names are those of every module
  /// made from the same graph.
  const std::vector<Parameter>& parameters() const { return parameters_; }
  /// Saved but not learned: running statistics, state of quantizers.
  const std::vector<NamedTensor>& buffers() const { return buffers_; }
  /// Parameter or buffer; throws `Error` when there is none.
  at::Tensor tensor(const std::string& name) const;

  /// Stops gradients for good: a teacher.
  void freeze_parameters();

  /// Moves parameters, buffers and constants.
  void to(at::Device device);
  /// Computes in f64 from now on (inputs must be f64 too): sums of products of codes are exact
  /// then, as the engine's are. For graphs without FakeQuant nodes.
  void to_double();

  const Quantizers& quantizers() const { return quantizers_; }
  /// Sum of the quantizers' penalties in the last forward; undefined when none has one.
  at::Tensor penalty();
  /// Tells quantizers how many batches add up to one step of the optimizer.
  void set_batches_per_step(int64_t count);
  /// Tells quantizers that the optimizer has stepped.
  void after_step();

  /// The graph with the constants as learned so far; FakeQuant nodes stay.
  Graph graph() const;

 private:
  struct Step {
    OpFunction run = nullptr;  // nullptr: FakeQuant
    Quantizer* quantizer = nullptr;
    std::vector<DType> dtypes;        // of the operands
    std::vector<ValueId> dead_after;  // values nobody reads later
  };

  void add_constants();
  void add_steps();
  std::vector<at::Tensor> initial_values(std::span<const at::Tensor> inputs) const;
  void run_step(size_t node, std::vector<at::Tensor>& values);

  Graph graph_;
  Quantizers quantizers_;
  std::vector<Parameter> parameters_;
  std::vector<NamedTensor> buffers_;
  std::vector<at::Tensor> constants_;  // by ValueId; undefined for computed values
  std::vector<Step> steps_;
  bool training_ = true;
};

}  // namespace ounce::train
