#include "engine/plan/reference_step.h"

#include <cstring>

#include "engine/lowering/internal_ops.h"
#include "engine/lowering/strided_view.h"
#include "engine/reference/reference.h"
#include "graph/error.h"
#include "graph/operator.h"

namespace ounce::engine {
namespace {

class ReferenceStep final : public Step {
 public:
  ReferenceStep(const StepRequest& request, reference::OperatorFunction function)
      : node_(request.node), function_(function) {
    for (const ValueId id : node_.inputs) {
      const Tensor* constant = request.constant(id);
      inputs_.push_back(constant != nullptr ? *constant : Tensor());
      input_shapes_.push_back(id == kNoValue ? Shape{} : request.shape(id));
      input_dtypes_.push_back(id == kNoValue ? DType::undefined : request.dtype(id));
    }
    for (const ValueId id : node_.outputs) {
      output_shapes_.push_back(id == kNoValue ? Shape{} : request.shape(id));
      output_dtypes_.push_back(id == kNoValue ? DType::undefined : request.dtype(id));
    }
    outputs_.resize(node_.outputs.size());
  }

  void run(const RunContext& context) override {
    if (!bound_) bind(context);
    reference::OperatorContext operands{node_, inputs_, outputs_};
    function_(operands);
    for (size_t i = 0; i < outputs_.size(); ++i) keep_in_slot(context, i);
  }

  std::string_view kernel() const override { return "reference"; }

 private:
  void bind(const RunContext& context) {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (node_.inputs[i] == kNoValue || inputs_[i].defined()) continue;
      inputs_[i] = Tensor::window(input_dtypes_[i], input_shapes_[i],
                                  context.at<std::byte>(node_.inputs[i]));
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (node_.outputs[i] == kNoValue) continue;
      outputs_[i] = Tensor::window(output_dtypes_[i], output_shapes_[i],
                                   context.at<std::byte>(node_.outputs[i]));
    }
    bound_ = true;
  }

  /// Operators may assign an output (a view of the input, say) instead of writing into it.
  void keep_in_slot(const RunContext& context, size_t i) {
    if (node_.outputs[i] == kNoValue) return;
    auto* slot = context.at<std::byte>(node_.outputs[i]);
    if (outputs_[i].raw() == slot) return;
    std::memcpy(slot, outputs_[i].raw(), outputs_[i].bytes());
    outputs_[i] = Tensor::window(output_dtypes_[i], output_shapes_[i], slot);
  }

  Node node_;
  reference::OperatorFunction function_;
  std::vector<Tensor> inputs_;
  std::vector<Tensor> outputs_;
  std::vector<Shape> input_shapes_;
  std::vector<Shape> output_shapes_;
  std::vector<DType> input_dtypes_;
  std::vector<DType> output_dtypes_;
  bool bound_ = false;
};

}  // namespace

std::unique_ptr<Step> make_reference_step(const StepRequest& request) {
  const reference::OperatorFunction function = reference::find_operator_function(request.node.op);
  if (function == nullptr) {
    throw Error("the engine has no operator " + request.node.op,
                "node '" + request.node.name + "'");
  }
  return std::make_unique<ReferenceStep>(request, function);
}

int64_t step_macs(const Graph& graph, const Node& node) {
  const auto elements = [&](ValueId id) {
    return element_count(*concrete(*graph.value(id).shape));
  };
  // Operands may be seen through strides: the view has the logical shape.
  const auto operand = [&](size_t i) {
    return load_view(node.attributes, std::to_string(i),
                     *concrete(*graph.value(node.input(i)).shape))
        .shape;
  };
  if (node.op == internal::kConv || node.op == internal::kQConv) {
    const Tensor* weight = graph.constant(node.input(1));
    return elements(node.output(0)) * (weight->size() / weight->shape()[0]);
  }
  if (node.op == internal::kMatMul || node.op == internal::kQMatMul ||
      node.op == internal::kBatchMatMul || node.op == internal::kQBatchMatMul ||
      node.op == internal::kBitBatchMatMul) {
    return elements(node.output(0)) * operand(0).back();
  }
  const bool on_bits = node.op == internal::kBitConv || node.op == internal::kBitMatMul;
  if (on_bits || node.op == internal::kCodeMatMul) {
    // Every pixel or row meets all weights. (Outputs and inputs may be words of bits.)
    const Shape result = *concrete(*graph.value(node.output(0)).shape);
    const int64_t rows = result.back() == 0 ? 0 : element_count(result) / result.back();
    return rows * graph.constant(node.input(1))->size();
  }
  if (node.op == "Attention" || node.op == internal::kBitAttention ||
      node.op == internal::kQAttention) {
    const Shape q = operand(0);
    const Shape k = operand(1);
    const int64_t scores = element_count(q) / q.back() * k[k.size() - 2];
    return scores * (q.back() + operand(2).back());
  }
  if (node.op.starts_with("engine.") || find_operator(node.op) == nullptr) return 0;
  return cost_of(graph, node).macs;
}

}  // namespace ounce::engine
