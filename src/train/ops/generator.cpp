#include <cmath>

#include "graph/ops/shape_rules.h"
#include "train/ops/common.h"
#include "train/ops/families.h"
#include "train/tensor.h"

namespace ounce::train::ops {
namespace {

/// The tensor that one of the `value*` attributes holds, on the CPU: an operator without operands
/// knows no device. Readers make constants of these nodes.
Outputs constant(const OpCall& call) {
  const AttributeMap& attributes = call.attributes();
  if (const Tensor* value = attributes.get_tensor("value")) return {to_torch(*value)};
  if (attributes.has("value_float")) {
    return {at::scalar_tensor(attributes.get_float("value_float", 0), at::kFloat)};
  }
  if (attributes.has("value_int")) {
    return {at::scalar_tensor(attributes.get_int("value_int", 0), at::kLong)};
  }
  if (attributes.has("value_ints")) return {at::tensor(attributes.get_ints("value_ints"))};
  require(attributes.has("value_floats"), "no value attribute of a supported type");
  return {at::tensor(attributes.get_floats("value_floats"))};
}

Outputs constant_of_shape(const OpCall& call) {
  const Tensor* given = call.attributes().get_tensor("value");
  const Tensor value = given != nullptr ? *given : Tensor::scalar(0.0F);
  require(value.size() == 1, "value must hold one element");
  const at::Tensor element = to_torch(value).reshape({}).to(call.input(0).device());
  return {element.expand(call.integers(0)).clone()};
}

/// start, start + delta, ... below (or above) limit.
Outputs range(const OpCall& call) {
  const at::Tensor& start = call.input(0);
  const bool whole = !start.is_floating_point();
  const double first = number(call, 0, 0), limit = number(call, 1, 0), step = number(call, 2, 0);
  require(step != 0.0, "delta is 0");
  const auto count = static_cast<int64_t>(std::max(std::ceil((limit - first) / step), 0.0));
  const at::Tensor steps =
      at::arange(count, start.options().dtype(whole ? at::kLong : at::kDouble));
  return {(steps * call.input(2).reshape({}) + start.reshape({})).to(start.scalar_type())};
}

Outputs eye_like(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  require(x.dim() == 2, "a 2-dimensional input wanted");
  const int64_t k = call.attributes().get_int("k", 0);
  const auto positions = at::TensorOptions(at::kLong).device(x.device());
  const at::Tensor rows = at::arange(x.size(0), positions).unsqueeze(1);
  const at::Tensor eye = rows + k == at::arange(x.size(1), positions);
  if (!call.attributes().has("dtype")) return {eye.to(x.scalar_type())};
  return {cast_to(eye, ounce::ops::dtype_from_onnx(call.attributes().get_int("dtype", 0)))};
}

/// values[1] where the new axis equals the index (negative: from the end), values[0] elsewhere.
Outputs one_hot(const OpCall& call) {
  const at::Tensor indices = call.input(0).to(at::kLong);
  const at::Tensor& values = call.input(2);
  require(values.numel() == 2, "values must hold two numbers");
  const auto depth = static_cast<int64_t>(number(call, 1, 0));
  require(depth >= 0, "negative depth");
  const int64_t axis = normalize_axis(call.attributes().get_int("axis", -1), indices.dim() + 1);
  const at::Tensor wrapped = at::where(indices < 0, indices + depth, indices).unsqueeze(axis);
  const at::Tensor classes = at::arange(depth, indices.options());
  const at::Tensor hot = wrapped == along_axis(classes, axis, wrapped.dim());
  return {at::where(hot, values[1], values[0])};
}

constexpr OpRow kRows[] = {
    {"Constant", constant}, {"ConstantOfShape", constant_of_shape},
    {"EyeLike", eye_like},  {"OneHot", one_hot},
    {"Range", range},
};

}  // namespace

Family generator_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
