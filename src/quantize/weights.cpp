#include "quantize/weights.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "graph/error.h"
#include "quantize/least_squares.h"

namespace ounce::quantize {
namespace {

/// A weight tensor as slices that share a scale: slice of element i is
/// channel(i) * groups + reduction(i) / group_size.
class Slices {
 public:
  Slices(const Shape& shape, WeightAxes axes, const WeightOptions& options) {
    const auto strides = row_major_strides(shape);
    const auto rank = static_cast<int64_t>(shape.size());
    size_ = element_count(shape);
    if (options.granularity == Granularity::kTensor) return;
    const int64_t channel = normalize_axis(axes.channel, rank);
    channels_ = shape[static_cast<size_t>(channel)];
    channel_stride_ = strides[static_cast<size_t>(channel)];
    if (options.granularity == Granularity::kChannel) return;
    const int64_t reduction = normalize_axis(axes.reduction, rank);
    reduction_ = shape[static_cast<size_t>(reduction)];
    reduction_stride_ = strides[static_cast<size_t>(reduction)];
    group_size_ = options.group_size;
    groups_ = (reduction_ + group_size_ - 1) / group_size_;
  }

  int64_t count() const { return channels_ * groups_; }
  int64_t channel_of(int64_t slice) const { return slice / groups_; }
  int64_t slice_of(int64_t element) const {
    const int64_t channel = channels_ == 1 ? 0 : (element / channel_stride_) % channels_;
    if (groups_ == 1) return channel;
    return channel * groups_ + ((element / reduction_stride_) % reduction_) / group_size_;
  }

  /// Element indices ordered by slice, and where each slice begins.
  std::vector<int64_t> begins() const {
    std::vector<int64_t> begin(static_cast<size_t>(count()) + 1, 0);
    for (int64_t i = 0; i < size_; ++i) ++begin[static_cast<size_t>(slice_of(i)) + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    return begin;
  }

 private:
  int64_t size_ = 0;
  int64_t channels_ = 1, channel_stride_ = 1;
  int64_t reduction_ = 1, reduction_stride_ = 1;
  int64_t group_size_ = 1, groups_ = 1;
};

struct CodeRange {
  float low, high;
};

CodeRange code_range(const WeightOptions& options) {
  const WeightCodes codes = weight_codes(options);
  return {static_cast<float>(codes.lowest), static_cast<float>(codes.highest)};
}

double squared_error(std::span<const float> values, float scale, CodeRange codes) {
  double error = 0.0;
  for (const float value : values) {
    const float difference = value - scale * round_code(value / scale, codes.low, codes.high);
    error += static_cast<double>(difference) * difference;
  }
  return error;
}

/// s = <w, q> / <q, q>: the best scale for codes as they are.
float refit(std::span<const float> values, float scale, CodeRange codes) {
  double wq = 0.0;
  double qq = 0.0;
  for (const float value : values) {
    const float q = round_code(value / scale, codes.low, codes.high);
    wq += static_cast<double>(value) * q;
    qq += static_cast<double>(q) * q;
  }
  return qq > 0.0 && wq > 0.0 ? static_cast<float>(wq / qq) : scale;
}

float search_scale(std::span<const float> values, float widest, CodeRange codes) {
  constexpr int kSteps = 80;
  constexpr float kLeastShare = 0.2F;
  float best = widest;
  double least = squared_error(values, widest, codes);
  const auto offer = [&](float scale) {
    const double error = squared_error(values, scale, codes);
    if (error < least) {
      least = error;
      best = scale;
    }
  };
  for (int i = 1; i <= kSteps; ++i) {
    offer(widest * (1.0F - (1.0F - kLeastShare) * static_cast<float>(i) / kSteps));
  }
  offer(refit(values, best, codes));
  return best;
}

float slice_scale(std::span<const float> values, const WeightOptions& options, CodeRange codes,
                  float least) {
  float largest = 0.0F;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  // Codes of a slice of zeros are zero whatever the scale; signs are not, so there it is the
  // smallest.
  const bool signs = options.bits == 1;
  if (largest == 0.0F && !signs) return least > 0.0F ? least : 1.0F;
  float scale = 0.0F;
  if (signs) {
    scale = sign_scale(values);
  } else if (options.ternary) {
    scale = ternary_scale(values);
  } else {
    scale = std::max(largest / codes.high, kSmallestScale);
    if (options.rule == WeightRule::kMse) scale = search_scale(values, scale, codes);
  }
  return std::max({scale, least, kSmallestScale});
}

int8_t code_of(float value, float scale, const WeightOptions& options, CodeRange codes) {
  if (options.bits == 1) return value < 0.0F ? int8_t{-1} : int8_t{1};
  return static_cast<int8_t>(round_code(value / scale, codes.low, codes.high));
}

void check(const Tensor& weights, const WeightOptions& options, std::string_view name) {
  const std::string where = "weights '" + std::string(name) + "'";
  if (options.bits < kMinWeightBits || options.bits > kMaxBits) {
    throw Error("cannot quantize to " + std::to_string(options.bits) + " bits", where,
                "1 to 8 bits");
  }
  if (options.granularity == Granularity::kGroup && options.group_size < 1) {
    throw Error("group size " + std::to_string(options.group_size) + " is not positive", where);
  }
  for (const float value : weights.data<float>()) {
    if (!std::isfinite(value)) throw Error("NaN or infinite weight", where, "repair the model");
  }
}

Tensor scale_tensor(const std::vector<float>& scales, const Slices& slices, const Tensor& weights,
                    WeightAxes axes, const WeightOptions& options) {
  if (options.granularity == Granularity::kTensor) return Tensor::scalar(scales[0]);
  if (options.granularity == Granularity::kChannel) {
    return Tensor::of(scales, {static_cast<int64_t>(scales.size())});
  }
  // One entry for each element of the weights that begins a block, taps repeating their group's.
  const auto axis = static_cast<size_t>(normalize_axis(axes.reduction, weights.rank()));
  Shape shape = weights.shape();
  shape[axis] = (shape[axis] + options.group_size - 1) / options.group_size;
  Tensor tensor(DType::f32, shape);
  const auto target = tensor.mutable_data<float>();
  const auto strides = row_major_strides(weights.shape());
  const int64_t inner = strides[axis];
  for (int64_t i = 0; i < tensor.size(); ++i) {
    const int64_t outer = i / (inner * shape[axis]);
    const int64_t block = (i / inner) % shape[axis];
    const int64_t element =
        (outer * weights.shape()[axis] + block * options.group_size) * inner + i % inner;
    target[static_cast<size_t>(i)] = scales[static_cast<size_t>(slices.slice_of(element))];
  }
  return tensor;
}

}  // namespace

std::string_view name_of(Granularity granularity) {
  switch (granularity) {
    case Granularity::kTensor:
      return "tensor";
    case Granularity::kChannel:
      return "channel";
    case Granularity::kGroup:
      return "group";
  }
  return "?";
}

std::string_view name_of(WeightRule rule) {
  return rule == WeightRule::kMse ? "mse" : "minmax";
}

std::optional<WeightRule> weight_rule_from_name(std::string_view name) {
  if (name == "mse") return WeightRule::kMse;
  if (name == "minmax") return WeightRule::kMinMax;
  return std::nullopt;
}

WeightCodes weight_codes(const WeightOptions& options) {
  if (options.bits == 1 || options.ternary) return {-1, 1};
  QuantParams params;
  params.bits = options.bits;
  params.is_signed = true;
  return {params.lowest(), params.highest()};
}

std::string bits_text(const WeightOptions& options) {
  return bits_text(options.bits, options.ternary);
}

WeightRule rule_of(const WeightOptions& options) {
  return options.bits == 1 || options.ternary ? WeightRule::kMse : options.rule;
}

bool set_weight_bits(WeightOptions& options, std::string_view text) {
  if (text == "ternary") {
    options.bits = kTernaryBitCount;
    options.ternary = true;
    return true;
  }
  const auto bits = bits_from_text(text);
  if (!bits) return false;
  options.bits = *bits;
  options.ternary = false;
  return true;
}

QuantizedWeights quantize_weights(const Tensor& weights, WeightAxes axes,
                                  const WeightOptions& options, std::string_view name,
                                  std::span<const float> least_scales) {
  check(weights, options, name);
  const Slices slices(weights.shape(), axes, options);
  const std::span<const float> values = weights.data<float>();
  const std::vector<int64_t> begins = slices.begins();
  std::vector<float> sorted(values.size());
  std::vector<int64_t> cursor(begins.begin(), begins.end() - 1);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto slice = static_cast<size_t>(slices.slice_of(static_cast<int64_t>(i)));
    sorted[static_cast<size_t>(cursor[slice]++)] = values[i];
  }
  const CodeRange codes = code_range(options);
  std::vector<float> scales(static_cast<size_t>(slices.count()));
  for (size_t slice = 0; slice < scales.size(); ++slice) {
    const auto begin = static_cast<size_t>(begins[slice]);
    const auto channel = static_cast<size_t>(slices.channel_of(static_cast<int64_t>(slice)));
    float least = 0.0F;
    if (options.granularity == Granularity::kTensor) {
      for (const float bound : least_scales) least = std::max(least, bound);
    } else if (channel < least_scales.size()) {
      least = least_scales[channel];
    }
    const auto size = static_cast<size_t>(begins[slice + 1]) - begin;
    scales[slice] = slice_scale({sorted.data() + begin, size}, options, codes, least);
  }
  QuantizedWeights result;
  result.codes = Tensor(DType::i8, weights.shape());
  const auto target = result.codes.mutable_data<int8_t>();
  for (size_t i = 0; i < values.size(); ++i) {
    const float scale = scales[static_cast<size_t>(slices.slice_of(static_cast<int64_t>(i)))];
    target[i] = code_of(values[i], scale, options, codes);
  }
  result.scales = scale_tensor(scales, slices, weights, axes, options);
  const bool grouped = options.granularity == Granularity::kGroup;
  result.axis = normalize_axis(grouped ? axes.reduction : axes.channel, weights.rank());
  result.block_size = grouped ? options.group_size : 0;
  return result;
}

Tensor QuantizedWeights::dequantize() const {
  Tensor result(DType::f32, codes.shape());
  const auto target = result.mutable_data<float>();
  const auto source = codes.data<int8_t>();
  const auto scale = scales.data<float>();
  const int64_t inner = row_major_strides(codes.shape())[static_cast<size_t>(axis)];
  const int64_t length = codes.shape()[static_cast<size_t>(axis)];
  const int64_t blocks = block_size == 0 ? length : (length + block_size - 1) / block_size;
  for (size_t i = 0; i < source.size(); ++i) {
    const auto element = static_cast<int64_t>(i);
    const int64_t along = (element / inner) % length;
    int64_t index = 0;
    if (block_size != 0) {
      index = (element / (inner * length) * blocks + along / block_size) * inner + element % inner;
    } else if (scale.size() > 1) {
      index = along;
    }
    target[i] = scale[static_cast<size_t>(index)] * static_cast<float>(source[i]);
  }
  return result;
}

Tensor pack_codes(const Tensor& codes, int bits) {
  constexpr DType kNarrowest[] = {DType::u1, DType::i2, DType::i3, DType::i4};
  return bits > 4 ? codes : cast(codes, kNarrowest[bits - 1]);
}

Tensor quantize_bias(std::span<const float> bias, float input_scale,
                     std::span<const float> weight_scales) {
  Tensor codes(DType::i32, {static_cast<int64_t>(bias.size())});
  const auto target = codes.mutable_data<int32_t>();
  for (size_t i = 0; i < bias.size(); ++i) {
    const double scale =
        static_cast<double>(input_scale * weight_scales[weight_scales.size() == 1 ? 0 : i]);
    const double code = std::nearbyint(static_cast<double>(bias[i]) / scale);
    target[i] = static_cast<int32_t>(std::clamp(code, -2147483648.0, 2147483647.0));
  }
  return codes;
}

float least_weight_scale(float bias, float input_scale) {
  // Half of the 32-bit range for the bias, half for the products.
  constexpr float kLargestCode = 1073741824.0F;
  return std::fabs(bias) / (kLargestCode * input_scale);
}

}  // namespace ounce::quantize
