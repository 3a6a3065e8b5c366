// Sources of constants and shapes, and what fits no other family.
#include <algorithm>
#include <cmath>

#include "graph/error.h"
#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"

namespace ounce::ops {
namespace {

void infer_constant(InferenceContext& context) {
  const AttributeMap& attributes = context.attributes();
  if (const Tensor* value = attributes.get_tensor("value")) {
    context.set_constant(0, *value);
  } else if (attributes.has("value_float")) {
    context.set_constant(0, Tensor::scalar(attributes.get_float("value_float", 0)));
  } else if (attributes.has("value_int")) {
    context.set_constant(0, Tensor::scalar(attributes.get_int("value_int", 0)));
  } else if (attributes.has("value_floats")) {
    const std::vector<float> values = attributes.get_floats("value_floats");
    context.set_constant(0, Tensor::of(values, {static_cast<int64_t>(values.size())}));
  } else if (attributes.has("value_ints")) {
    context.set_constant(0, Tensor::of_i64(attributes.get_ints("value_ints")));
  } else {
    throw Error("holds no numeric value");
  }
}

void infer_constant_of_shape(InferenceContext& context) {
  DType dtype = DType::f32;
  if (const Tensor* value = context.attributes().get_tensor("value")) {
    if (value->size() != 1) throw Error("attribute 'value' must hold one element");
    dtype = value->dtype();
  }
  context.set_output(0, dtype);
  const auto dims = context.contents(0);
  if (!dims) return;
  SymbolicShape y;
  for (const SymbolicInt& dim : *dims) {
    if (dim.number && *dim.number < 0) {
      throw Error("negative dimension " + std::to_string(*dim.number));
    }
    if (dim.number) checked_range(*dim.number, "dimension");
    y.push_back(dim.dim());
  }
  context.set_output(0, dtype, std::move(y));
}

/// Number of elements of the sequence start, start + delta, ... before limit.
int64_t range_length(int64_t start, int64_t limit, int64_t delta) {
  const bool empty = delta > 0 ? start >= limit : start <= limit;
  if (empty) return 0;
  // Unsigned arithmetic: the distance of two int64 may exceed int64.
  const auto low = static_cast<uint64_t>(std::min(start, limit));
  const auto high = static_cast<uint64_t>(std::max(start, limit));
  const uint64_t step =
      delta > 0 ? static_cast<uint64_t>(delta) : uint64_t{0} - static_cast<uint64_t>(delta);
  const uint64_t length = (high - low - 1) / step + 1;
  if (length > static_cast<uint64_t>(kMaxDim)) throw Error("range is too long");
  return static_cast<int64_t>(length);
}

void infer_range(InferenceContext& context) {
  const DType dtype = context.dtype(0);
  Dim length;
  if (context.constant(0) != nullptr && context.constant(1) != nullptr &&
      context.constant(2) != nullptr) {
    if (*constant_number(context, 2) == 0) throw Error("delta is 0");
    if (is_float(dtype)) {
      // The distance is taken in the operator's own precision, as runtimes do.
      double distance = *constant_number(context, 1) - *constant_number(context, 0);
      if (dtype != DType::f64) distance = static_cast<float>(distance);
      const double count = std::ceil(distance / *constant_number(context, 2));
      if (!(count <= static_cast<double>(kMaxDim))) throw Error("range is too long");
      length = static_cast<int64_t>(std::max(count, 0.0));
    } else {
      length = range_length(*constant_int(context, 0), *constant_int(context, 1),
                            *constant_int(context, 2));
    }
  }
  if (!length.known() && is_integer(dtype)) {
    const auto start = context.contents(0);
    const auto limit = context.contents(1);
    const auto delta = context.contents(2);
    const bool counts_up = start && limit && delta && *start == SymbolicInts{0} &&
                           *delta == SymbolicInts{1} && limit->size() == 1;
    if (counts_up) length = limit->front().dim();
  }
  context.set_output(0, dtype, {length});
}

void infer_eye_like(InferenceContext& context) {
  infer_same_as_input(context);
  if (context.shape(0) != nullptr) require_rank(*context.shape(0), 2, "input");
  if (context.attributes().has("dtype")) {
    context.set_output(0, dtype_from_onnx(context.attributes().get_int("dtype", 1)));
  }
}

/// The dimensions [start, end) of x; known without running anything when they are.
void infer_shape(InferenceContext& context) {
  context.set_output(0, DType::i64);
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  const auto rank = static_cast<int64_t>(x->size());
  const auto bound = [&](int64_t axis) {
    return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  const int64_t start = bound(context.attributes().get_int("start", 0));
  const int64_t end = std::max(start, bound(context.attributes().get_int("end", rank)));
  std::vector<int64_t> dims;
  for (int64_t i = start; i < end; ++i) {
    if (const Dim& dim = (*x)[static_cast<size_t>(i)]; dim.known()) dims.push_back(dim.value);
  }
  if (static_cast<int64_t>(dims.size()) == end - start) {
    context.set_constant(0, Tensor::of_i64(std::move(dims)));
  } else {
    context.set_output(0, DType::i64, {Dim(end - start)});
  }
}

void infer_size(InferenceContext& context) {
  context.set_output(0, DType::i64, SymbolicShape{});
  if (context.shape(0) == nullptr) return;
  if (const auto shape = concrete(*context.shape(0))) {
    context.set_constant(0, Tensor::scalar(element_count(*shape)));
  }
}

/// boxes [batch, boxes, 4], scores [batch, classes, boxes] -> [selected, 3] (batch, class, box).
void infer_non_max_suppression(InferenceContext& context) {
  if (context.shape(0) != nullptr) require_rank(*context.shape(0), 3, "boxes");
  if (context.shape(1) != nullptr) require_rank(*context.shape(1), 3, "scores");
  if (context.shape(0) != nullptr && context.shape(1) != nullptr) {
    unified((*context.shape(0))[0], (*context.shape(1))[0], "batch of boxes and scores");
    unified((*context.shape(0))[1], (*context.shape(1))[2], "number of boxes and scores");
    unified((*context.shape(0))[2], Dim(4), "box coordinates");
  }
  context.set_output(0, DType::i64, {Dim(), Dim(3)});
}

Cost no_cost(const Node&, std::span<const Value* const>, std::span<const Value* const>) {
  return {};
}

const OperatorSchema kRows[] = {
    {.name = "Constant",
     .min_inputs = 0,
     .max_inputs = 0,
     .infer = infer_constant,
     .cost = no_cost},
    {.name = "ConstantOfShape",
     .since_opset = 9,
     .infer = infer_constant_of_shape,
     .cost = no_cost},
    {.name = "EyeLike", .since_opset = 9, .infer = infer_eye_like, .cost = no_cost},
    {.name = "NonMaxSuppression",
     .min_inputs = 2,
     .max_inputs = 5,
     .since_opset = 11,
     .infer = infer_non_max_suppression,
     .cost = no_cost},
    {.name = "Range",
     .min_inputs = 3,
     .max_inputs = 3,
     .since_opset = 11,
     .infer = infer_range,
     .cost = no_cost},
    {.name = "Shape", .infer = infer_shape, .cost = no_cost},
    {.name = "Size", .infer = infer_size, .cost = no_cost},
};

}  // namespace

Family misc_operators() {
  return kRows;
}

}  // namespace ounce::ops
