#include <limits>

#include "graph/ops/log_grid.h"
#include "graph/ops/shape_rules.h"
#include "train/ops/common.h"
#include "train/ops/families.h"
#include "train/quantizers/straight_through.h"

namespace ounce::train::ops {
namespace {

/// Scales or zero points in a shape that broadcasts with x: one for all; one an index of `axis`; or
/// one a block of `block_size` elements along `axis`.
at::Tensor spread(const OpCall& call, const at::Tensor& parameter) {
  const at::Tensor& x = call.input(0);
  const int64_t block = call.attributes().get_int("block_size", 0);
  require(block >= 0, "negative block_size");
  if (block == 0 && parameter.numel() == 1 && parameter.dim() <= 1) return parameter.reshape({});
  const int64_t axis = axis_of(call, 1);
  if (block == 0) {
    require(parameter.dim() == 1 && parameter.numel() == x.size(axis),
            "not one scale an index of the axis");
    return along_axis(parameter, axis, x.dim());
  }
  std::vector<int64_t> wanted = x.sizes().vec();
  int64_t& blocks = wanted[static_cast<size_t>(axis)];
  blocks = (blocks + block - 1) / block;
  require(parameter.sizes().equals(wanted), "the scales have not the shape of the blocks");
  const at::Tensor elements =
      at::arange(x.size(axis), at::TensorOptions(at::kLong).device(x.device()));
  return parameter.index_select(axis, elements.div(block, "floor"));
}

/// The codes that a dtype holds.
struct CodeRange {
  double low = 0;
  double high = 0;
};

CodeRange code_range(DType dtype) {
  switch (dtype) {
    case DType::u4:
    case DType::u8:
    case DType::u16:
      return {0, static_cast<double>((1 << bits_of(dtype)) - 1)};
    case DType::i2:
    case DType::i3:
    case DType::i4:
    case DType::i8:
    case DType::i16: {
      const auto half = static_cast<double>(1 << (bits_of(dtype) - 1));
      return {-half, half - 1};
    }
    default:
      throw Error("no quantization to " + std::string(name_of(dtype)));
  }
}

/// What QuantizeLinear rounds to: the zero point's dtype, else the attribute's.
DType code_dtype(const OpCall& call) {
  if (call.dtypes.size() > 2 && call.dtypes[2] != DType::undefined) return call.dtypes[2];
  if (call.has(2)) return call.inputs[2].scalar_type() == at::kChar ? DType::i8 : DType::u8;
  const int64_t code = call.attributes().get_int("output_dtype", 0);
  return code == 0 ? DType::u8 : ounce::ops::dtype_from_onnx(code);
}

at::Tensor rounded(const at::Tensor& x) {
  return straight_through(x, at::round(x), Slope::kClip, std::numeric_limits<double>::infinity());
}

/// q = clamp(round_half_even(x / scale) + zero_point), as floats. The gradient is that of
/// x / scale where the code lies in the range, and zero outside.
Outputs quantize_linear(const OpCall& call) {
  const at::Tensor scale = spread(call, call.input(1));
  const CodeRange range = code_range(code_dtype(call));
  at::Tensor codes = rounded(call.input(0) / scale);
  if (call.has(2)) codes = codes + spread(call, call.inputs[2]).to(codes.scalar_type());
  return {at::clamp(codes, range.low, range.high)};
}

/// x = (q - zero_point) * scale, for codes as integers (a constant) or floats (just quantized).
Outputs dequantize_linear(const OpCall& call) {
  const at::Tensor scale = spread(call, call.input(1));
  at::Tensor codes = call.input(0).to(scale.scalar_type());
  if (call.has(2)) codes = codes - spread(call, call.inputs[2]).to(scale.scalar_type());
  return {codes * scale};
}

/// u8 codes, as floats, over [min(x, 0), max(x, 0)].
Outputs dynamic_quantize_linear(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const CodeRange range = code_range(DType::u8);
  const at::Tensor low = at::clamp_max(x.detach().min(), 0);
  const at::Tensor high = at::clamp_min(x.detach().max(), 0);
  const at::Tensor width = (high - low) / range.high;
  const at::Tensor scale = width.masked_fill(width == 0, 1);  // all zero: any scale does
  const at::Tensor zero_point = at::clamp(at::round(-low / scale), range.low, range.high);
  return {at::clamp(rounded(x / scale) + zero_point, range.low, range.high), scale, zero_point};
}

/// y = scale * sign(x) with sign(0) = +1, or with `unsigned` scale * (x > scale / 2 ? 1 : 0); the
/// scale is 1 when omitted. Straight through: the sign has the gradient of clamp(x, -1, 1), the map
/// that of clamp(x / scale, 0, 1).
Outputs binarize(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const at::Tensor scale =
      call.has(1) ? spread(call, call.inputs[1]).to(x.scalar_type()) : at::ones({}, x.options());
  if (call.attributes().get_int("unsigned", 0) != 0) {
    const at::Tensor ones = (x > scale / 2).to(x.scalar_type());
    return {straight_through(x / scale - 0.5, ones, Slope::kClip, 0.5) * scale};
  }
  return {straight_through(x, signs_of(x), Slope::kClip) * scale};
}

/// Rounds on a grid of x's own, of each row with `per_token`. The gradient is x's: no value lies
/// outside.
Outputs dynamic_fake_quant(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const AttributeMap& attributes = call.attributes();
  const double levels = std::exp2(attributes.get_int("bits", 8));
  const at::Tensor values = x.detach();
  const bool per_token = attributes.get_int("per_token", 0) != 0;
  const at::Tensor rows = per_token ? values : values.reshape({-1});
  const at::Tensor low = at::clamp_max(rows.amin(-1, per_token), 0);
  const at::Tensor high = at::clamp_min(rows.amax(-1, per_token), 0);
  const bool symmetric = attributes.get_int("symmetric", 0) != 0;
  const at::Tensor scale =
      symmetric ? at::maximum(-low, high) / (levels / 2 - 1) : (high - low) / (levels - 1);
  const at::Tensor divisor = scale.masked_fill(scale == 0, 1);
  const at::Tensor zero_point = symmetric ? at::zeros_like(scale) : at::round(-low / divisor);
  const double lowest = symmetric ? -levels / 2 : 0;
  const at::Tensor codes =
      at::clamp(rounded(x / divisor) + zero_point, lowest, lowest + levels - 1);
  return {(codes - zero_point) * scale};
}

/// y = base^-k, k = round(-log_base(x)) clamped to the codes. Straight through: the gradient is
/// that of x.
Outputs log_quantize(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const ounce::ops::LogGrid grid = ounce::ops::log_grid_of(call.attributes());
  const at::Tensor bounded = at::clamp_min(x.detach(), grid.power(grid.last()));
  const at::Tensor steps = at::nan_to_num(at::log2(bounded) * -grid.steps_per_octave);
  const at::Tensor codes = at::clamp(at::round(steps), 0, grid.last());
  at::Tensor values = at::exp2(codes / -grid.steps_per_octave);
  if (grid.zero_below) values = values.masked_fill(codes == grid.last(), 0);
  return {straight_through(x, values, Slope::kClip, std::numeric_limits<double>::infinity())};
}

constexpr OpRow kRows[] = {
    {"Binarize", binarize},
    {"DequantizeLinear", dequantize_linear},
    {"DynamicFakeQuant", dynamic_fake_quant},
    {"DynamicQuantizeLinear", dynamic_quantize_linear},
    {"LogQuantize", log_quantize},
    {"QuantizeLinear", quantize_linear},
};

}  // namespace

Family quantize_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
