#include "engine/reference/convolution.h"
#include "engine/reference/families.h"
#include "engine/reference/matmul.h"
#include "engine/reference/quantized.h"

namespace ounce::engine::reference {
namespace {

/// Codes minus their zero points as i32; `zero_shape` is how the zero points broadcast to them.
Tensor centred(const Tensor& codes, const Tensor& zero_point, const Shape& zero_shape) {
  require(is_integer(codes.dtype()) && bits_of(codes.dtype()) <= 16,
          "codes of at most 16 bits wanted");
  Tensor result = cast(codes, DType::i32);
  if (!zero_point.defined()) return result;
  require(zero_point.dtype() == codes.dtype(), "codes and zero point differ in dtype");
  const Tensor zero = cast(zero_point, DType::i32).reshaped(zero_shape);
  const int32_t* offsets = elements<int32_t>(zero);
  int32_t* values = mutable_elements<int32_t>(result);
  for_each_broadcast<1>(
      codes.shape(), {&zero_shape},
      [&](int64_t i, const std::array<int64_t, 1>& at) { values[i] -= offsets[at[0]]; });
  return result;
}

/// An optional operand; undefined when omitted.
Tensor optional_input(const OperatorContext& context, size_t i) {
  return context.has_input(i) ? context.inputs[i] : Tensor();
}

/// The shape in which a parameter of the left matrix broadcasts over [.., rows, columns]: [rows]
/// stands for rows.
Shape row_shape(const Tensor& parameter) {
  if (parameter.rank() == 1 && parameter.size() > 1) return {parameter.size(), 1};
  return parameter.shape();
}

/// The shape in which a parameter of `filters` broadcasts over [filters, ...] of rank `rank`.
Shape filter_shape(const Tensor& parameter, int64_t rank) {
  if (parameter.size() == 1) return {};
  Shape shape(static_cast<size_t>(rank), 1);
  shape.front() = parameter.size();
  return shape;
}

/// An integer sum wraps into 32 bits, as accumulators do.
int32_t accumulator(int64_t sum) {
  return static_cast<int32_t>(sum);
}

std::vector<int32_t> integer_product(const Tensor& a, const Tensor& b, const MatmulShape& shape) {
  std::vector<int32_t> sums(static_cast<size_t>(element_count(shape.output)));
  multiply<int32_t, int64_t>(
      shape, elements<int32_t>(a), elements<int32_t>(b),
      [&](int64_t i, int64_t sum) { sums[static_cast<size_t>(i)] = accumulator(sum); });
  return sums;
}

std::vector<int32_t> integer_convolution(const Tensor& x, const Tensor& w, const Convolution& shape,
                                         const std::vector<int64_t>& bias) {
  std::vector<int32_t> sums(static_cast<size_t>(element_count(shape.output_shape())));
  convolve<int32_t, int64_t>(shape, elements<int32_t>(x), elements<int32_t>(w),
                             [&](int64_t i, int64_t filter, int64_t sum) {
                               const int64_t offset =
                                   bias.empty() ? 0 : bias[static_cast<size_t>(filter)];
                               sums[static_cast<size_t>(i)] = accumulator(sum + offset);
                             });
  return sums;
}

void matmul_integer(OperatorContext& context) {
  const Tensor& a = input(context, 0);
  const Tensor& b = input(context, 1);
  const MatmulShape shape(a.shape(), b.shape());
  const Tensor a_zero = optional_input(context, 2);
  const Tensor b_zero = optional_input(context, 3);
  const Tensor left = centred(a, a_zero, row_shape(a_zero));
  const Tensor right = centred(b, b_zero, b_zero.shape());
  store(context, 0, Tensor::of(integer_product(left, right, shape), shape.output));
}

void conv_integer(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& w = input(context, 1);
  const Convolution shape(context.node, x, w);
  const Tensor x_zero = optional_input(context, 2);
  const Tensor w_zero = optional_input(context, 3);
  const Tensor left = centred(x, x_zero, filter_shape(x_zero, x.rank()));
  const Tensor right = centred(w, w_zero, filter_shape(w_zero, w.rank()));
  store(context, 0, Tensor::of(integer_convolution(left, right, shape, {}), shape.output_shape()));
}

/// A parameter of requantization and how it broadcasts over the sums.
struct Parameter {
  Tensor values;
  Shape shape;
};

/// Stores clamp(round_half_even(sum * (x_scale * w_scale / y_scale)) + zero_point), all in f32, as
/// output 0.
void store_requantized(OperatorContext& context, const std::vector<int32_t>& sums,
                       const Shape& shape, const std::array<Parameter, 4>& parameters) {
  std::array<std::vector<float>, 3> scales;
  for (size_t n = 0; n < 3; ++n) scales[n] = parameters[n].values.to_f32();
  const DType dtype = parameters[3].values.dtype();
  const std::vector<int64_t> zero = parameters[3].values.to_i64();
  const CodeRange range = code_range(dtype);
  std::vector<int64_t> codes(sums.size());
  for_each_broadcast<4>(
      shape,
      {&parameters[0].shape, &parameters[1].shape, &parameters[2].shape, &parameters[3].shape},
      [&](int64_t i, const std::array<int64_t, 4>& at) {
        const auto scale = [&](size_t n) { return scales[n][static_cast<size_t>(at[n])]; };
        const float multiplier = scale(0) * scale(1) / scale(2);
        const auto sum = static_cast<float>(sums[static_cast<size_t>(i)]);
        codes[static_cast<size_t>(i)] =
            to_code(sum * multiplier, zero[static_cast<size_t>(at[3])], range);
      });
  store_codes(context, 0, codes, dtype, shape);
}

/// Inputs a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point.
void qlinear_matmul(OperatorContext& context) {
  const Tensor& a = input(context, 0);
  const Tensor& b = input(context, 3);
  const MatmulShape shape(a.shape(), b.shape());
  const Tensor left = centred(a, input(context, 2), row_shape(input(context, 2)));
  const Tensor right = centred(b, input(context, 5), input(context, 5).shape());
  const auto rows = [&](size_t i) {
    return Parameter{input(context, i), row_shape(input(context, i))};
  };
  const Parameter b_scale = {input(context, 4), input(context, 4).shape()};
  store_requantized(context, integer_product(left, right, shape), shape.output,
                    {rows(1), b_scale, rows(6), rows(7)});
}

/// Inputs x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias.
void qlinear_conv(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& w = input(context, 3);
  const Convolution shape(context.node, x, w);
  for (const size_t i : {size_t{1}, size_t{2}, size_t{6}, size_t{7}}) {
    require(input(context, i).size() == 1, "scale and zero point of x and y must be single");
  }
  const Tensor left = centred(x, context.inputs[2], {});
  const Tensor right = centred(w, input(context, 5), filter_shape(input(context, 5), w.rank()));
  const std::vector<int64_t> bias = integers(context, 8);
  require(bias.empty() || static_cast<int64_t>(bias.size()) == shape.filters,
          "not one bias a filter");
  const Tensor& w_scale = input(context, 4);
  const Parameter filter_scale = {w_scale, filter_shape(w_scale, w.rank() - 1)};
  store_requantized(context, integer_convolution(left, right, shape, bias), shape.output_shape(),
                    {Parameter{context.inputs[1], {}}, filter_scale,
                     Parameter{context.inputs[6], {}}, Parameter{context.inputs[7], {}}});
}

constexpr OperatorEntry kEntries[] = {
    {"ConvInteger", conv_integer},
    {"MatMulInteger", matmul_integer},
    {"QLinearConv", qlinear_conv},
    {"QLinearMatMul", qlinear_matmul},
};

}  // namespace

std::span<const OperatorEntry> quantized_compute_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
