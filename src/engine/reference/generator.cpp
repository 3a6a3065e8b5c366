#include <algorithm>

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"
#include "graph/ops/shape_rules.h"

namespace ounce::engine::reference {
namespace {

/// The tensor that one of the `value*` attributes of Constant holds.
void constant(OperatorContext& context) {
  const AttributeMap& attributes = context.attributes();
  if (const Tensor* value = attributes.get_tensor("value")) return store(context, 0, *value);
  if (attributes.has("value_float")) {
    return store(context, 0, Tensor::scalar(attributes.get_float("value_float", 0)));
  }
  if (attributes.has("value_int")) {
    return store(context, 0, Tensor::scalar(attributes.get_int("value_int", 0)));
  }
  if (attributes.has("value_ints")) {
    return store(context, 0, Tensor::of_i64(attributes.get_ints("value_ints")));
  }
  require(attributes.has("value_floats"), "no value attribute of a supported type");
  const std::vector<float> values = attributes.get_floats("value_floats");
  store(context, 0, Tensor::of(values, {static_cast<int64_t>(values.size())}));
}

void constant_of_shape(OperatorContext& context) {
  const Tensor* given = context.attributes().get_tensor("value");
  const Tensor value = given != nullptr ? *given : Tensor::scalar(0.0F);
  require(value.size() == 1, "value must hold one element");
  const Shape shape = integers(context, 0);
  Tensor& y = output(context, 0, value.dtype(), shape);
  if (is_packed(value.dtype())) {
    const Tensor bytes = cast(value, DType::i8);
    Tensor filled(DType::i8, shape);
    std::fill_n(mutable_elements<int8_t>(filled), filled.size(), elements<int8_t>(bytes)[0]);
    return store(context, 0, cast(filled, value.dtype()));
  }
  with_bits_type(value.dtype(), [&]<class T>(Type<T>) {
    std::fill_n(mutable_elements<T>(y), y.size(), elements<T>(value)[0]);
  });
}

/// start, start + delta, ... below (or above) limit.
void range(OperatorContext& context) {
  const Tensor& start = input(context, 0);
  const Tensor& limit = input(context, 1);
  const Tensor& delta = input(context, 2);
  for (const Tensor* operand : {&start, &limit, &delta}) {
    require(operand->size() == 1 && operand->dtype() == start.dtype(),
            "start, limit and delta must be single numbers of one dtype");
  }
  with_number_type(start.dtype(), [&]<class T>(Type<T>) {
    const T first = elements<T>(start)[0];
    const T step = elements<T>(delta)[0];
    require(step != T{0}, "delta is 0");
    // In long double, which holds every 64-bit integer.
    const long double span =
        static_cast<long double>(elements<T>(limit)[0]) - static_cast<long double>(first);
    const long double count = std::ceil(span / static_cast<long double>(step));
    require(count < static_cast<long double>(ops::kMaxDim), "too many elements");
    const auto size = static_cast<int64_t>(std::max(count, 0.0L));
    T* to = mutable_elements<T>(output(context, 0, start.dtype(), {size}));
    for (int64_t i = 0; i < size; ++i) {
      to[i] = AddOf{}(first, MulOf{}(static_cast<T>(i), step));
    }
  });
}

void eye_like(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  require(x.rank() == 2, "a 2-dimensional input wanted");
  const int64_t rows = x.shape()[0];
  const int64_t columns = x.shape()[1];
  const bool has_type = context.attributes().has("dtype");
  const DType dtype =
      has_type ? ops::dtype_from_onnx(context.attributes().get_int("dtype", 0)) : x.dtype();
  const int64_t k = std::clamp(context.attributes().get_int("k", 0), -rows - 1, columns + 1);
  Tensor eye(DType::f32, x.shape());
  float* to = mutable_elements<float>(eye);
  for (int64_t row = 0; row < rows; ++row) {
    if (row + k >= 0 && row + k < columns) to[row * columns + row + k] = 1.0F;
  }
  store(context, 0, cast(eye, dtype));
}

/// values[1] where the new axis equals the index (negative: from the end), values[0] elsewhere.
void one_hot(OperatorContext& context) {
  const Tensor& indices = input(context, 0);
  const Tensor& values = input(context, 2);
  require(input(context, 1).size() == 1 && values.size() == 2,
          "depth must hold one number, values two");
  const int64_t depth = cast(context.inputs[1], DType::i64).to_i64().front();
  require(depth >= 0, "negative depth");
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", -1), indices.rank() + 1);
  Shape shape = indices.shape();
  shape.insert(shape.begin() + axis, depth);
  Tensor& y = output(context, 0, values.dtype(), shape);
  const AxisView view = view_along(shape, axis);
  const std::vector<int64_t> at = cast(indices, DType::i64).to_i64();
  with_bits_type(values.dtype(), [&]<class T>(Type<T>) {
    T* to = mutable_elements<T>(y);
    std::fill_n(to, y.size(), elements<T>(values)[0]);
    for (int64_t i = 0; i < indices.size(); ++i) {
      const int64_t given = at[static_cast<size_t>(i)];
      const int64_t hot = given < 0 ? given + depth : given;
      if (hot < 0 || hot >= depth) continue;  // outside: all off
      to[(i / view.inner * depth + hot) * view.inner + i % view.inner] = elements<T>(values)[1];
    }
  });
}

constexpr OperatorEntry kEntries[] = {
    {"Constant", constant},    {"ConstantOfShape", constant_of_shape},
    {"EyeLike", eye_like},     {"OneHot", one_hot},
    {"Range", widened<range>},
};

}  // namespace

std::span<const OperatorEntry> generator_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
