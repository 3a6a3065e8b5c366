#include "graph/dtype.h"
#include "graph/ops/shape_rules.h"
#include "train/ops/common.h"
#include "train/ops/families.h"
#include "train/per_channel.h"

namespace ounce::train::ops {
namespace {

Outputs add(const OpCall& call) {
  const at::Tensor& a = call.input(0);
  const at::Tensor& b = call.input(1);
  if (const auto shift = channel_values(a, b)) return {shift_channels(a, *shift)};
  return {a + b};
}

Outputs subtract(const OpCall& call) {
  return {call.input(0) - call.input(1)};
}

/// Integers truncate towards zero.
Outputs divide(const OpCall& call) {
  const at::Tensor& a = call.input(0);
  const at::Tensor& b = call.input(1);
  return {a.is_floating_point() ? at::div(a, b) : at::div(a, b, "trunc")};
}

/// The sign of the dividend with `fmod`, else of the divisor.
Outputs modulus(const OpCall& call) {
  const at::Tensor& a = call.input(0);
  const at::Tensor& b = call.input(1);
  const bool is_fmod = call.attributes().get_int("fmod", 0) != 0;
  return {is_fmod ? at::fmod(a, b) : at::remainder(a, b)};
}

/// The exponent may have another dtype; the result has the base's.
Outputs power(const OpCall& call) {
  const at::Tensor& base = call.input(0);
  return {at::pow(base, call.input(1)).to(base.scalar_type())};
}

/// Folds any number of operands from the left, broadcasting.
template <at::Tensor (*kFunction)(const at::Tensor&, const at::Tensor&)>
Outputs variadic(const OpCall& call) {
  at::Tensor result = call.input(0);
  for (size_t i = 1; i < call.inputs.size(); ++i) result = kFunction(result, call.input(i));
  return {result};
}

at::Tensor sum_of(const at::Tensor& a, const at::Tensor& b) {
  return a + b;
}

Outputs mean(const OpCall& call) {
  return {variadic<sum_of>(call).front() / static_cast<double>(call.inputs.size())};
}

/// Crossing bounds: the upper one wins.
Outputs clip(const OpCall& call) {
  const auto bound = [&](size_t i) {
    require(call.inputs[i].numel() == 1, "a bound must be a single number");
    return call.inputs[i].reshape({});
  };
  at::Tensor y = call.input(0);
  if (call.has(1)) y = at::clamp_min(y, bound(1));
  if (call.has(2)) y = at::clamp_max(y, bound(2));
  return {y};
}

Outputs where(const OpCall& call) {
  return {at::where(call.input(0), call.input(1), call.input(2))};
}

Outputs is_inf(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const bool positive = call.attributes().get_int("detect_positive", 1) != 0;
  const bool negative = call.attributes().get_int("detect_negative", 1) != 0;
  const at::Tensor none = at::zeros_like(x, at::kBool);
  const at::Tensor above = positive ? at::isposinf(x) : none;
  return {above.logical_or(negative ? at::isneginf(x) : none)};
}

Outputs cast(const OpCall& call) {
  return {cast_to(call.input(0), ounce::ops::dtype_from_onnx(call.attributes().get_int("to", 0)))};
}

Outputs cast_like(const OpCall& call) {
  return {call.input(0).to(call.input(1).scalar_type())};
}

constexpr OpRow kRows[] = {
    {"Abs", unary<at::abs>},
    {"Acos", unary<at::acos>},
    {"Acosh", unary<at::acosh>},
    {"Add", add},
    {"And", binary<at::logical_and>},
    {"Asin", unary<at::asin>},
    {"Asinh", unary<at::asinh>},
    {"Atan", unary<at::atan>},
    {"Atanh", unary<at::atanh>},
    {"Cast", cast},
    {"CastLike", cast_like},
    {"Ceil", unary<at::ceil>},
    {"Clip", clip},
    {"Cos", unary<at::cos>},
    {"Cosh", unary<at::cosh>},
    {"Div", divide},
    {"Equal", binary<at::eq>},
    {"Erf", unary<at::erf>},
    {"Exp", unary<at::exp>},
    {"Floor", unary<at::floor>},
    {"Greater", binary<at::gt>},
    {"GreaterOrEqual", binary<at::ge>},
    {"IsInf", is_inf},
    {"IsNaN", unary<at::isnan>},
    {"Less", binary<at::lt>},
    {"LessOrEqual", binary<at::le>},
    {"Log", unary<at::log>},
    {"Max", variadic<at::maximum>},
    {"Mean", mean},
    {"Min", variadic<at::minimum>},
    {"Mod", modulus},
    {"Mul", binary<at::mul>},
    {"Neg", unary<at::neg>},
    {"Not", unary<at::logical_not>},
    {"Or", binary<at::logical_or>},
    {"Pow", power},
    {"Reciprocal", unary<at::reciprocal>},
    {"Round", unary<at::round>},
    {"Sign", unary<at::sign>},
    {"Sin", unary<at::sin>},
    {"Sinh", unary<at::sinh>},
    {"Sqrt", unary<at::sqrt>},
    {"Sub", subtract},
    {"Sum", variadic<sum_of>},
    {"Tan", unary<at::tan>},
    {"Where", where},
    {"Xor", binary<at::logical_xor>},
};

}  // namespace

at::Tensor cast_to(const at::Tensor& x, DType dtype) {
  switch (dtype) {
    case DType::f32:
      return x.to(at::kFloat);
    case DType::f16:
      return x.to(at::kHalf).to(at::kFloat);
    case DType::bf16:
      return x.to(at::kBFloat16).to(at::kFloat);
    case DType::f64:
      return x.to(at::kDouble);
    case DType::i64:
      return x.to(at::kLong);
    case DType::i32:
      return x.to(at::kInt);
    case DType::i16:
      return x.to(at::kShort);
    case DType::i8:
      return x.to(at::kChar);
    case DType::u8:
      return x.to(at::kByte);
    case DType::u4:
      return x.to(at::kInt).clamp(0, 15).to(at::kByte);
    case DType::i4:
      return x.to(at::kInt).clamp(-8, 7).to(at::kChar);
    case DType::boolean:
      return x.to(at::kBool);
    default:
      throw Error("libtorch has no tensors of " + std::string(name_of(dtype)));
  }
}

Family elementwise_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
