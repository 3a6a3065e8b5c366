#include <algorithm>
#include <cmath>

#include "engine/kernels/int8/dynamic_grid.h"
#include "engine/reference/families.h"
#include "engine/reference/quantized.h"
#include "graph/ops/log_grid.h"
#include "graph/ops/shape_rules.h"

namespace ounce::engine::reference {
namespace {

/// Which scale belongs to element i: one for all; one an index of `axis`; or one a block of
/// `block_size` elements along `axis`.
class Granularity {
 public:
  Granularity(const OperatorContext& context, const Shape& x, const Tensor& scale) {
    const int64_t block = context.attributes().get_int("block_size", 0);
    require(block >= 0, "negative block_size");
    if (block == 0 && scale.size() == 1 && scale.rank() <= 1) return;
    const int64_t axis =
        normalize_axis(context.attributes().get_int("axis", 1), static_cast<int64_t>(x.size()));
    view_ = view_along(x, axis);
    if (block == 0) {
      require(scale.rank() == 1 && scale.size() == view_.axis,
              "not one scale an index of the axis");
      block_ = 1;
      return;
    }
    Shape wanted = x;
    int64_t& blocks = wanted[static_cast<size_t>(axis)];
    blocks = blocks == 0 ? 0 : (blocks - 1) / block + 1;
    require(scale.shape() == wanted, "the scales have not the shape of the blocks");
    block_ = block;
    blocks_ = blocks;
  }

  size_t operator()(int64_t i) const {
    if (block_ == 0) return 0;
    const int64_t along = i / view_.inner % view_.axis;
    if (blocks_ == 0) return static_cast<size_t>(along);
    const int64_t outer = i / view_.inner / view_.axis;
    return static_cast<size_t>((outer * blocks_ + along / block_) * view_.inner + i % view_.inner);
  }

 private:
  AxisView view_;
  int64_t block_ = 0;   // 0: per tensor
  int64_t blocks_ = 0;  // along the axis; 0: per axis
};

/// Zero points of input 2, zeros when omitted.
std::vector<int64_t> zero_points(const OperatorContext& context, const Tensor& scale) {
  if (!context.has_input(2)) return std::vector<int64_t>(static_cast<size_t>(scale.size()), 0);
  require(context.inputs[2].size() == scale.size(), "scales and zero points differ in number");
  return context.inputs[2].to_i64();
}

/// q = clamp(round_half_even(x / scale) + zero_point), the division in f32.
void quantize_linear(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& scale = input(context, 1);
  DType dtype = DType::u8;
  if (const int64_t code = context.attributes().get_int("output_dtype", 0); code != 0) {
    dtype = ops::dtype_from_onnx(code);
  }
  if (context.has_input(2)) dtype = context.inputs[2].dtype();
  const CodeRange range = code_range(dtype);
  const Granularity scale_of(context, x.shape(), scale);
  const std::vector<int64_t> zero = zero_points(context, scale);
  const std::vector<float> scales = scale.to_f32();
  const std::vector<float> values = x.to_f32();
  std::vector<int64_t> codes(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t s = scale_of(static_cast<int64_t>(i));
    codes[i] = to_code(values[i] / scales[s], zero[s], range);
  }
  store_codes(context, 0, codes, dtype, x.shape());
}

/// x = (q - zero_point) * scale, in the scale's dtype.
void dequantize_linear(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& scale = input(context, 1);
  const Granularity scale_of(context, x.shape(), scale);
  const std::vector<int64_t> zero = zero_points(context, scale);
  const std::vector<float> scales = scale.to_f32();
  const std::vector<int64_t> codes = x.to_i64();
  std::vector<float> values(codes.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t s = scale_of(static_cast<int64_t>(i));
    values[i] = static_cast<float>(codes[i] - zero[s]) * scales[s];
  }
  store(context, 0, cast(Tensor::of(values, x.shape()), scale.dtype()));
}

/// u8 codes over [min(x, 0), max(x, 0)].
void dynamic_quantize_linear(OperatorContext& context) {
  const std::vector<float> x = input(context, 0).to_f32();
  const CodeRange range = code_range(DType::u8);
  float low = 0.0F;
  float high = 0.0F;
  for (const float value : x) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const float scale = low == high ? 1.0F : (high - low) / 255.0F;  // all zero: any scale does
  const int64_t zero_point = to_code(-low / scale, 0, range);
  std::vector<int64_t> codes(x.size());
  std::transform(x.begin(), x.end(), codes.begin(),
                 [&](float value) { return to_code(value / scale, zero_point, range); });
  store_codes(context, 0, codes, DType::u8, context.inputs[0].shape());
  store(context, 1, Tensor::scalar(scale));
  store(context, 2, Tensor::scalar(static_cast<uint8_t>(zero_point)));
}

/// y = scale * sign(x) with sign(0) = +1, or with `unsigned` scale * (x > scale / 2 ? 1 : 0); the
/// scale is 1 when omitted.
void binarize(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor scale = context.has_input(1) ? context.inputs[1] : Tensor::scalar(1.0F);
  const Granularity scale_of(context, x.shape(), scale);
  const std::vector<float> scales = scale.to_f32();
  const bool is_unsigned = context.attributes().get_int("unsigned", 0) != 0;
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (int64_t i = 0; i < x.size(); ++i) {
      const T magnitude = static_cast<T>(scales[scale_of(i)]);
      if (is_unsigned) {
        to[i] = from[i] > magnitude / T{2} ? magnitude : T{0};
      } else {
        to[i] = from[i] < T{0} ? -magnitude : magnitude;
      }
    }
  });
}

/// The grid of each row, or of all of them as one.
void dynamic_fake_quant(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const AttributeMap& attributes = context.attributes();
  const auto bits = static_cast<int>(attributes.get_int("bits", 8));
  const bool per_token = attributes.get_int("per_token", 0) != 0;
  const DynamicGrid kind =
      attributes.get_int("symmetric", 0) != 0 ? DynamicGrid::kSymmetric : DynamicGrid::kAsymmetric;
  const std::vector<float> from = x.to_f32();
  std::vector<float> to(from.size());
  const size_t run = per_token ? static_cast<size_t>(x.shape().back()) : from.size();
  for (size_t first = 0; first < from.size(); first += run) {
    Extent extent;
    for (size_t i = first; i < first + run; ++i) {
      extent.lo = from[i] < extent.lo ? from[i] : extent.lo;
      extent.hi = from[i] > extent.hi ? from[i] : extent.hi;
    }
    const Grid grid = grid_of(extent, kind, bits);
    for (size_t i = first; i < first + run && grid.scale > 0.0F; ++i) {
      const int64_t code = to_code(from[i] / grid.scale, grid.zero_point, {grid.lo, grid.hi});
      to[i] = static_cast<float>(code - grid.zero_point) * grid.scale;
    }
  }
  store(context, 0, cast(Tensor::of(to, x.shape()), x.dtype()));
}

/// y = base^-k with k = round(-log_base(x)) of the exact logarithm, clamped to the codes. What is
/// not positive gets the last code, NaN gets 0.
void log_quantize(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const ops::LogGrid grid = ops::log_grid_of(context.attributes());
  const std::vector<float> table = grid.values();
  std::vector<float> values = x.to_f32();
  for (float& value : values) {
    double code = grid.last();
    if (std::isnan(value)) {
      code = 0.0;
    } else if (value > 0.0F) {
      const double steps = -std::log2(static_cast<double>(value)) * grid.steps_per_octave;
      code = std::clamp(std::nearbyint(steps), 0.0, code);
    }
    value = table[static_cast<size_t>(code)];
  }
  store(context, 0, cast(Tensor::of(values, x.shape()), x.dtype()));
}

/// How it rounds is known to a quantizer of the trainer alone.
void fake_quant(OperatorContext&) {
  throw Error("is still being trained", {}, "the frozen graph");
}

constexpr OperatorEntry kEntries[] = {
    {"Binarize", widened<binarize>},
    {"DequantizeLinear", dequantize_linear},
    {"DynamicFakeQuant", dynamic_fake_quant},
    {"DynamicQuantizeLinear", dynamic_quantize_linear},
    {"FakeQuant", fake_quant},
    {"LogQuantize", log_quantize},
    {"QuantizeLinear", quantize_linear},
};

}  // namespace

std::span<const OperatorEntry> quantize_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
