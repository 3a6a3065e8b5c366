#include <algorithm>

#include "graph/error.h"
#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"

namespace ounce::ops {
namespace {

SymbolicShape reduced(const SymbolicShape& x, const std::vector<size_t>& axes, bool keep) {
  SymbolicShape y;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) {
      y.push_back(x[i]);
    } else if (keep) {
      y.push_back(1);
    }
  }
  return y;
}

void infer_reduce(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  const bool keep = context.attributes().get_int("keepdims", 1) != 0;
  const bool noop = context.attributes().get_int("noop_with_empty_axes", 0) != 0;
  std::vector<size_t> axes;
  if (context.has_input(1)) {
    const auto listed = constant_ints(context, 1);
    if (!listed) {
      const auto count = known_length(context, 1);
      if (keep) {
        context.set_output(0, context.dtype(0), unknown_dims(x->size()));
      } else if (count && *count > 0 && *count <= static_cast<int64_t>(x->size())) {
        context.set_output(0, context.dtype(0),
                           unknown_dims(x->size() - static_cast<size_t>(*count)));
      }
      return;
    }
    axes = axis_indices(*listed, x->size());
  }
  if (axes.empty() && !noop) {
    for (size_t i = 0; i < x->size(); ++i) axes.push_back(i);
  }
  context.set_output(0, context.dtype(0), reduced(*x, axes, keep));
}

void infer_arg(InferenceContext& context) {
  context.set_output(0, DType::i64);
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  const size_t axis = axis_index(context.attributes().get_int("axis", 0), x->size());
  if ((*x)[axis] == Dim(0)) throw Error("no extreme element along an empty axis");
  const bool keep = context.attributes().get_int("keepdims", 1) != 0;
  context.set_output(0, DType::i64, reduced(*x, {axis}, keep));
}

void infer_top_k(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  context.set_output(1, DType::i64);
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  const size_t axis = axis_index(context.attributes().get_int("axis", -1), x->size());
  SymbolicShape y = *x;
  y[axis] = Dim();
  if (const auto k = constant_int(context, 1)) {
    if (*k < 0 || ((*x)[axis].known() && *k > (*x)[axis].value)) {
      throw Error("k is " + std::to_string(*k) + " along an axis of " + to_string(*x));
    }
    y[axis] = checked_range(*k, "k");
  }
  context.set_output(1, DType::i64, y);
  context.set_output(0, context.dtype(0), std::move(y));
}

void infer_cumsum(InferenceContext& context) {
  if (const auto axis = constant_int(context, 1); axis && context.shape(0) != nullptr) {
    axis_index(*axis, context.shape(0)->size());
  }
  infer_same_as_input(context);
}

Cost input_cost(const Node&, std::span<const Value* const> inputs, std::span<const Value* const>) {
  return {.ops = elements(*inputs[0])};
}

OperatorSchema reduce(std::string_view name, int since = 18) {
  return {.name = name,
          .max_inputs = 2,
          .since_opset = since,
          .infer = infer_reduce,
          .cost = input_cost};
}

OperatorSchema arg(std::string_view name) {
  return {.name = name, .since_opset = 12, .infer = infer_arg, .cost = input_cost};
}

const OperatorSchema kRows[] = {
    reduce("ReduceL1"),
    reduce("ReduceL2"),
    reduce("ReduceLogSum"),
    reduce("ReduceLogSumExp"),
    reduce("ReduceMax"),
    reduce("ReduceMean"),
    reduce("ReduceMin"),
    reduce("ReduceProd"),
    reduce("ReduceSum", 13),
    reduce("ReduceSumSquare"),
    arg("ArgMax"),
    arg("ArgMin"),
    {.name = "TopK",
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 2,
     .max_outputs = 2,
     .since_opset = 11,
     .infer = infer_top_k,
     .cost = input_cost},
    {.name = "CumSum", .min_inputs = 2, .max_inputs = 2, .since_opset = 11, .infer = infer_cumsum},
};

}  // namespace

Family reduce_operators() {
  return kRows;
}

}  // namespace ounce::ops
