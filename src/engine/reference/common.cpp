#include "engine/reference/common.h"

#include <algorithm>
#include <limits>

namespace ounce::engine::reference {

void fail(std::string message) {
  throw Error(std::move(message));
}

const Tensor& input(const OperatorContext& context, size_t i) {
  if (!context.has_input(i)) fail("input " + std::to_string(i) + " is missing");
  return context.inputs[i];
}

bool wants_output(const OperatorContext& context, size_t i) {
  return i < context.outputs.size() && context.node.output(i) != kNoValue;
}

Tensor& output(OperatorContext& context, size_t i, DType dtype, const Shape& shape) {
  Tensor& tensor = context.outputs[i];
  if (!tensor.defined()) {
    tensor = Tensor(dtype, shape);
  } else if (tensor.dtype() != dtype || tensor.shape() != shape) {
    fail("output " + std::to_string(i) + " is " + std::string(name_of(dtype)) + " " +
         to_string(shape) + ", planned as " + std::string(name_of(tensor.dtype())) + " " +
         to_string(tensor.shape()));
  }
  return tensor;
}

Tensor& planned_output(OperatorContext& context, size_t i) {
  if (!context.outputs[i].defined())
    context.outputs[i] = infer_outputs(context.node, context.inputs)[i];
  require(context.outputs[i].defined(), "the output's shape cannot be inferred");
  return context.outputs[i];
}

void store(OperatorContext& context, size_t i, const Tensor& result) {
  Tensor& target = output(context, i, result.dtype(), result.shape());
  if (result.bytes() > 0) std::memcpy(target.mutable_raw(), result.raw(), result.bytes());
}

std::vector<int64_t> integers(const OperatorContext& context, size_t i,
                              std::vector<int64_t> fallback) {
  return context.has_input(i) ? context.inputs[i].to_i64() : std::move(fallback);
}

int64_t integer(const OperatorContext& context, size_t i, int64_t fallback) {
  if (!context.has_input(i)) return fallback;
  if (context.inputs[i].size() != 1) {
    fail("input " + std::to_string(i) + " must hold one integer, has shape " +
         to_string(context.inputs[i].shape()));
  }
  return context.inputs[i].to_i64().front();
}

float number(const OperatorContext& context, size_t i, float fallback) {
  if (!context.has_input(i)) return fallback;
  if (context.inputs[i].size() != 1) {
    fail("input " + std::to_string(i) + " must hold one number, has shape " +
         to_string(context.inputs[i].shape()));
  }
  return context.inputs[i].to_f32().front();
}

int64_t checked_product(int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) fail("size arithmetic overflows");
  return result;
}

int64_t checked_sum(int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_add_overflow(a, b, &result)) fail("size arithmetic overflows");
  return result;
}

int64_t checked_difference(int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_sub_overflow(a, b, &result)) fail("size arithmetic overflows");
  return result;
}

Shape broadcast_shape(std::span<const int64_t> a, std::span<const int64_t> b) {
  Shape shape(std::max(a.size(), b.size()));
  for (size_t i = 0; i < shape.size(); ++i) {  // i counts from the last dimension
    const int64_t in_a = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t in_b = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (in_a != in_b && in_a != 1 && in_b != 1) {
      fail("shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    }
    shape[shape.size() - 1 - i] = in_a == 1 ? in_b : in_a;
  }
  return shape;
}

std::vector<int64_t> broadcast_strides(std::span<const int64_t> from, std::span<const int64_t> to) {
  const std::vector<int64_t> own = row_major_strides(from);
  std::vector<int64_t> strides(to.size(), 0);
  bool fits = from.size() <= to.size();
  for (size_t i = 0; fits && i < from.size(); ++i) {
    const size_t target = to.size() - from.size() + i;
    fits = from[i] == to[target] || from[i] == 1;
    strides[target] = from[i] == 1 ? 0 : own[i];
  }
  if (!fits) fail("shape " + to_string(from) + " does not broadcast to " + to_string(to));
  return strides;
}

void copy_strided(const Tensor& x, Tensor& y, const Shape& shape,
                  const std::vector<int64_t>& strides, int64_t base) {
  with_bits_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x) + base;
    T* to = mutable_elements<T>(y);
    for_each_strided<1>(shape, {strides},
                        [&](int64_t i, const std::array<int64_t, 1>& at) { to[i] = from[at[0]]; });
  });
}

AxisView view_along(std::span<const int64_t> shape, int64_t axis) {
  AxisView view;
  const auto at = static_cast<size_t>(axis);
  view.outer = element_count(shape.subspan(0, at));
  view.axis = shape[at];
  view.inner = element_count(shape.subspan(at + 1));
  return view;
}

std::vector<int64_t> normalized_axes(std::vector<int64_t> axes, int64_t rank) {
  for (int64_t& axis : axes) axis = normalize_axis(axis, rank);
  std::vector<int64_t> sorted = axes;
  std::sort(sorted.begin(), sorted.end());
  require(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end(), "an axis stands twice");
  return axes;
}

namespace {

bool is_half(DType dtype) {
  return dtype == DType::f16 || dtype == DType::bf16;
}

DType widened_type(DType dtype, bool widen_halves) {
  if (widen_halves && is_half(dtype)) return DType::f32;
  if (dtype == DType::u4) return DType::u8;
  if (is_packed(dtype)) return DType::i8;
  return dtype;
}

}  // namespace

void run_widened(OperatorContext& context, OperatorFunction function, bool widen_halves) {
  const auto differs = [&](const Tensor& tensor) {
    return tensor.defined() && widened_type(tensor.dtype(), widen_halves) != tensor.dtype();
  };
  if (std::none_of(context.inputs.begin(), context.inputs.end(), differs) &&
      std::none_of(context.outputs.begin(), context.outputs.end(), differs)) {
    return function(context);
  }
  std::vector<Tensor> inputs(context.inputs.begin(), context.inputs.end());
  DType narrow = DType::undefined;  // of outputs whose dtype the plan left open
  for (Tensor& tensor : inputs) {
    if (!differs(tensor)) continue;
    if (narrow == DType::undefined) narrow = tensor.dtype();
    tensor = cast(tensor, widened_type(tensor.dtype(), widen_halves));
  }
  std::vector<Tensor> results(context.outputs.size());
  OperatorContext inner{context.node, inputs, results};
  function(inner);
  for (size_t i = 0; i < results.size(); ++i) {
    if (!results[i].defined()) continue;
    DType wanted = context.outputs[i].dtype();
    if (wanted == DType::undefined && narrow != DType::undefined) {
      const bool narrowed = results[i].dtype() == widened_type(narrow, widen_halves);
      wanted = narrowed ? narrow : results[i].dtype();
    }
    store(context, i, wanted == DType::undefined ? results[i] : cast(results[i], wanted));
  }
}

}  // namespace ounce::engine::reference
