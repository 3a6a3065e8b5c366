#include "train/module.h"

#include <algorithm>
#include <set>

#include "graph/error.h"
#include "graph/operator.h"
#include "train/tensor.h"

namespace ounce::train {
namespace {

constexpr size_t kRunningMean = 3;
constexpr size_t kRunningVariance = 4;

bool is_weight_operand(const Node& node, size_t operand) {
  if (operand == 0) return node.op == "PRelu";
  static const std::set<std::string_view> kOps = {"Conv",
                                                  "ConvTranspose",
                                                  "Gemm",
                                                  "MatMul",
                                                  "PRelu",
                                                  "BatchNormalization",
                                                  "LayerNormalization",
                                                  "GroupNormalization",
                                                  "InstanceNormalization",
                                                  "RMSNorm"};
  return kOps.contains(node.op);
}

ParameterKind kind_of(const Node& node, size_t operand, const Tensor& constant) {
  static const std::set<std::string_view> kNorms = {"BatchNormalization", "LayerNormalization",
                                                    "GroupNormalization", "InstanceNormalization",
                                                    "RMSNorm"};
  if (kNorms.contains(node.op)) return ParameterKind::kNorm;
  if (node.op == "MatMul" || node.op == "Gemm" || node.op == "Conv" || node.op == "ConvTranspose") {
    return operand < 2 ? ParameterKind::kWeight : ParameterKind::kBias;
  }
  if (node.op == "FakeQuant") return ParameterKind::kWeight;
  if (node.op == "Gather") return ParameterKind::kEmbedding;
  // A row or an image added to all of a batch: position tables have two dimensions and more.
  const auto wide = std::count_if(constant.shape().begin(), constant.shape().end(),
                                  [](int64_t extent) { return extent > 1; });
  return wide >= 2 || node.op == "Concat" ? ParameterKind::kEmbedding : ParameterKind::kBias;
}

}  // namespace

Module::Module(Graph graph, Quantizers quantizers)
    : graph_(std::move(graph)), quantizers_(std::move(quantizers)) {
  add_constants();
  add_steps();
}

void Module::add_constants() {
  constants_.resize(graph_.values.size());
  std::vector<bool> learned(graph_.values.size(), false);
  for (const Node& node : graph_.nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      const Tensor* constant = graph_.constant(id);
      if (constant == nullptr || constants_[static_cast<size_t>(id)].defined()) continue;
      at::Tensor& tensor = constants_[static_cast<size_t>(id)];
      tensor = to_torch(*constant);
      if (!tensor.is_floating_point()) continue;
      const std::string& name = graph_.value(id).name;
      if (node.op == "BatchNormalization" && (i == kRunningMean || i == kRunningVariance)) {
        buffers_.push_back({name, tensor});
      } else if (is_weight_operand(node, i) || constant->size() > 1) {
        tensor.requires_grad_(true);
        parameters_.push_back({name, tensor, kind_of(node, i, *constant)});
      }
    }
  }
  for (const ValueId id : graph_.outputs) {
    at::Tensor& tensor = constants_[static_cast<size_t>(id)];
    if (graph_.constant(id) != nullptr && !tensor.defined())
      tensor = to_torch(*graph_.constant(id));
  }
  for (const auto& [name, quantizer] : quantizers_) {
    for (const NamedTensor& parameter : quantizer->parameters()) {
      parameters_.push_back({name + '.' + parameter.name, parameter.tensor,
                             ParameterKind::kQuantizer, parameter.rate});
    }
    for (const NamedTensor& buffer : quantizer->buffers()) {
      buffers_.push_back({name + '.' + buffer.name, buffer.tensor});
    }
  }
}

void Module::add_steps() {
  steps_.resize(graph_.nodes.size());
  std::vector<size_t> last_reader(graph_.values.size(), 0);
  for (size_t n = 0; n < graph_.nodes.size(); ++n) {
    const Node& node = graph_.nodes[n];
    if (node.op == "FakeQuant") {
      const auto found = quantizers_.find(node.name);
      if (found == quantizers_.end()) throw Error("node " + node.name + ": has no quantizer");
      steps_[n].quantizer = found->second.get();
    } else {
      steps_[n].run = find_op(node.op);
      if (steps_[n].run == nullptr) {
        throw Error("node " + node.name + ": operator " + node.op +
                    " cannot be trained (docs/operators.md lists those that can)");
      }
    }
    for (const ValueId id : node.inputs) {
      steps_[n].dtypes.push_back(id == kNoValue ? DType::undefined : graph_.value(id).dtype);
      if (id != kNoValue) last_reader[static_cast<size_t>(id)] = n;
    }
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) last_reader[static_cast<size_t>(id)] = n;
    }
  }
  for (const ValueId id : graph_.outputs) last_reader[static_cast<size_t>(id)] = steps_.size();
  for (size_t v = 0; v < last_reader.size(); ++v) {
    const auto id = static_cast<ValueId>(v);
    if (graph_.value(id).is_constant() || last_reader[v] >= steps_.size()) continue;
    steps_[last_reader[v]].dead_after.push_back(id);
  }
}

std::vector<at::Tensor> Module::initial_values(std::span<const at::Tensor> inputs) const {
  if (inputs.size() != graph_.inputs.size()) {
    throw Error(std::to_string(inputs.size()) + " inputs for " +
                std::to_string(graph_.inputs.size()) + " of the graph");
  }
  std::vector<at::Tensor> values = constants_;
  for (size_t i = 0; i < inputs.size(); ++i) {
    values[static_cast<size_t>(graph_.inputs[i])] = inputs[i];
  }
  return values;
}

Module::Result Module::forward(std::span<const at::Tensor> inputs,
                               const std::vector<std::string>& taps) {
  std::vector<at::Tensor> values = initial_values(inputs);
  std::map<ValueId, std::string> tapped;
  for (const std::string& tap : taps) {
    const ValueId id = graph_.find_value(tap);
    if (id == kNoValue) throw Error("no value is named " + tap);
    tapped.emplace(id, tap);
  }
  Result result;
  const auto tap = [&](ValueId id) {
    if (const auto found = tapped.find(id); found != tapped.end()) {
      result.taps[found->second] = values[static_cast<size_t>(id)];
    }
  };
  for (const ValueId id : graph_.inputs) tap(id);
  for (size_t n = 0; n < steps_.size(); ++n) {
    run_step(n, values);
    for (const ValueId id : graph_.nodes[n].outputs) {
      if (id != kNoValue) tap(id);
    }
    for (const ValueId id : steps_[n].dead_after) values[static_cast<size_t>(id)].reset();
  }
  for (const ValueId id : graph_.outputs) result.outputs.push_back(values[static_cast<size_t>(id)]);
  return result;
}

void Module::run_step(size_t n, std::vector<at::Tensor>& values) {
  const Node& node = graph_.nodes[n];
  const Step& step = steps_[n];
  std::vector<at::Tensor> inputs;
  inputs.reserve(node.inputs.size());
  for (const ValueId id : node.inputs) {
    inputs.push_back(id == kNoValue ? at::Tensor() : values[static_cast<size_t>(id)]);
  }
  std::vector<at::Tensor> outputs;
  try {
    if (step.quantizer != nullptr) {
      outputs = {step.quantizer->fake_quant(inputs.at(0), training_)};
    } else {
      outputs = step.run({node, inputs, training_, step.dtypes});
    }
  } catch (const c10::Error& error) {
    throw Error("node " + node.name + " (" + node.op + "): " + error.what_without_backtrace());
  } catch (const Error& error) {
    throw Error("node " + node.name + " (" + node.op + "): " + error.what());
  }
  for (size_t i = 0; i < node.outputs.size() && i < outputs.size(); ++i) {
    if (node.outputs[i] != kNoValue) {
      values[static_cast<size_t>(node.outputs[i])] = std::move(outputs[i]);
    }
  }
}

std::string Module::first_not_finite(std::span<const at::Tensor> inputs) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> values = initial_values(inputs);
  const auto broken = [&](ValueId id) {
    if (id == kNoValue) return false;
    const at::Tensor& value = values[static_cast<size_t>(id)];
    return value.is_floating_point() && !value.isfinite().all().item<bool>();
  };
  for (const ValueId id : graph_.inputs) {
    if (broken(id)) return graph_.value(id).name;
  }
  for (size_t n = 0; n < steps_.size(); ++n) {
    run_step(n, values);
    for (const ValueId id : graph_.nodes[n].outputs) {
      if (broken(id)) return graph_.value(id).name;
    }
    for (const ValueId id : steps_[n].dead_after) values[static_cast<size_t>(id)].reset();
  }
  return {};
}

at::Tensor Module::operator()(const at::Tensor& input) {
  return forward(std::span(&input, 1)).outputs.at(0);
}

at::Tensor Module::tensor(const std::string& name) const {
  for (const Parameter& parameter : parameters_) {
    if (parameter.name == name) return parameter.tensor;
  }
  for (const NamedTensor& buffer : buffers_) {
    if (buffer.name == name) return buffer.tensor;
  }
  throw Error("no parameter is named " + name);
}

void Module::freeze_parameters() {
  for (Parameter& parameter : parameters_) parameter.tensor.requires_grad_(false);
  training_ = false;
}

void Module::to(at::Device device) {
  const at::NoGradGuard no_grad;
  // Handles stay the same: optimizers and quantizers hold them.
  for (at::Tensor& constant : constants_) {
    if (constant.defined()) constant.set_data(constant.to(device));
  }
  for (const auto& [name, quantizer] : quantizers_) {
    for (NamedTensor& own : quantizer->parameters()) own.tensor.set_data(own.tensor.to(device));
    for (NamedTensor& own : quantizer->buffers()) own.tensor.set_data(own.tensor.to(device));
  }
}

void Module::to_double() {
  if (!quantizers_.empty()) throw Error("a graph that is being quantized computes in f32");
  const at::NoGradGuard no_grad;
  for (at::Tensor& constant : constants_) {
    if (constant.defined() && constant.is_floating_point()) {
      constant.set_data(constant.to(at::kDouble));
    }
  }
}

at::Tensor Module::penalty() {
  at::Tensor sum;
  for (const auto& [name, quantizer] : quantizers_) {
    const at::Tensor term = quantizer->penalty();
    if (term.defined()) sum = sum.defined() ? sum + term : term;
  }
  return sum;
}

void Module::set_batches_per_step(int64_t count) {
  for (const auto& [name, quantizer] : quantizers_) quantizer->set_batches_per_step(count);
}

void Module::after_step() {
  for (const auto& [name, quantizer] : quantizers_) quantizer->after_step();
}

Graph Module::graph() const {
  Graph result = graph_;
  for (size_t v = 0; v < constants_.size(); ++v) {
    const at::Tensor& tensor = constants_[v];
    if (tensor.defined() && tensor.is_floating_point()) {
      result.values[v].constant = from_torch(tensor);
    }
  }
  return result;
}

}  // namespace ounce::train
