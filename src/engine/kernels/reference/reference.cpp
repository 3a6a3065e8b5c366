#include "engine/kernels/reference/reference.h"

#include <algorithm>
#include <cmath>

namespace ounce::engine::reference {
namespace {

double finish(double x, int64_t row, int64_t column, const Epilogue& e) {
  const double residual =
      e.residual == nullptr ? 0.0 : e.residual[row * e.residual_stride + column];
  if (e.bias != nullptr) x += e.bias[column];
  if (e.activation_first) return activate(x, e.activation) + residual;
  return activate(x + residual, e.activation);
}

void set_bit(void* words, int64_t index, bool value) {
  uint64_t& word = static_cast<uint64_t*>(words)[index / 64];
  const uint64_t bit = uint64_t{1} << (index % 64);
  word = value ? word | bit : word & ~bit;
}

float or_zero(const float* values, int64_t column) {
  return values == nullptr ? 0.0F : values[column];
}

// x = float(sum) * scale. The PReLU in single steps of f32: the signs of its results are exact.
float finish_float(float x, int64_t row, int64_t column, const IntegerEpilogue& e) {
  if (e.prelu_slope == nullptr) return static_cast<float>(finish(x, row, column, e.f32));
  x += or_zero(e.f32.bias, column);
  if (e.f32.residual != nullptr) x += e.f32.residual[row * e.f32.residual_stride + column];
  x += or_zero(e.prelu_before, column);
  if (x < 0.0F) {
    x *= e.prelu_slope[column];
  } else if (e.prelu_gain != nullptr) {
    x *= e.prelu_gain[column];
  }
  return x + or_zero(e.prelu_after, column);
}

void finish(int32_t sum, int64_t row, int64_t column, const IntegerEpilogue& e) {
  if (e.output == IntegerOutput::kBits) {
    const bool flip = e.flips != nullptr && (e.flips[column / 16] >> (column % 16) & 1) != 0;
    return set_bit(e.c, row * e.ldc * 64 + column, (sum < e.thresholds[column]) != flip);
  }
  const int64_t at = row * e.ldc + column;
  if (e.output == IntegerOutput::kI32) {
    static_cast<int32_t*>(e.c)[at] = sum;
    return;
  }
  float x = static_cast<float>(sum) * e.scale[column];
  if (e.output == IntegerOutput::kF32) {
    const float y = finish_float(x, row, column, e);
    static_cast<float*>(e.c)[at] = y;
    if (e.sign_bits == nullptr) return;
    const bool negative = y + or_zero(e.sign_shift, column) < 0.0F;
    return set_bit(e.sign_bits, row * e.sign_stride * 64 + column, negative);
  }
  if (e.f32.bias != nullptr) x += e.f32.bias[column];
  if (e.residual != nullptr) {
    const int32_t code = e.residual[row * e.residual_stride + column];
    const float residual = static_cast<float>(code - e.residual_zero_point) * e.residual_scale;
    x += residual;
  }
  const int32_t q = to_code(x, e.zero_point, e.lo, e.hi);
  static_cast<uint8_t*>(e.c)[at] = e.table == nullptr ? static_cast<uint8_t>(q) : e.table[q];
}

// Calls tap(input offset of channel 0 of the group, weight offset, inside) for every tap of an
// output pixel and channel; offsets in elements.
template <class Tap>
void for_taps(const ConvShape& s, int64_t n, int64_t y, int64_t x, int64_t channel,
              const Tap& tap) {
  const int64_t group = channel / s.group_out();
  for (int64_t i = 0; i < s.kernel_h; ++i) {
    for (int64_t j = 0; j < s.kernel_w; ++j) {
      const int64_t in_y = y * s.stride_h - s.pad_top + i * s.dilation_h;
      const int64_t in_x = x * s.stride_w - s.pad_left + j * s.dilation_w;
      const bool inside = in_y >= 0 && in_y < s.in_h && in_x >= 0 && in_x < s.in_w;
      const int64_t in =
          ((n * s.in_h + in_y) * s.in_w + in_x) * s.in_channels + group * s.group_in();
      const int64_t weight = ((channel * s.kernel_h + i) * s.kernel_w + j) * s.group_in();
      tap(in, weight, inside);
    }
  }
}

// Calls output(n, y, x, pixel index, channel) for every output element.
template <class Output>
void for_outputs(const ConvShape& s, const Output& output) {
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t y = 0; y < s.out_h; ++y) {
      for (int64_t x = 0; x < s.out_w; ++x) {
        for (int64_t c = 0; c < s.out_channels; ++c) {
          output(n, y, x, (n * s.out_h + y) * s.out_w + x, c);
        }
      }
    }
  }
}

// A pooling window is a convolution of each channel with itself.
ConvShape as_depthwise(ConvShape s) {
  s.out_channels = s.groups = s.in_channels;
  return s;
}

template <class T>
void max_pool(const T* x, T* y, const ConvShape& shape, T lowest) {
  const ConvShape s = as_depthwise(shape);
  for_outputs(s, [&](int64_t n, int64_t oy, int64_t ox, int64_t pixel, int64_t c) {
    T best = lowest;
    for_taps(s, n, oy, ox, c, [&](int64_t in, int64_t, bool inside) {
      if (inside) best = std::max(best, x[in]);
    });
    y[pixel * s.out_channels + c] = best;
  });
}

}  // namespace

double activate(double x, const ActivationSpec& spec) {
  const double alpha = spec.alpha;
  const double beta = spec.beta;
  switch (spec.kind) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kClip:
      return std::min(std::max(x, alpha), beta);
    case Activation::kLeakyRelu:
      return x < 0.0 ? alpha * x : x;
    case Activation::kSilu:
      return x / (1.0 + std::exp(-x));
    case Activation::kGeluErf:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kSigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kHardSwish:
      return x * std::clamp(x / 6.0 + 0.5, 0.0, 1.0);
    case Activation::kHardSigmoid:
      return std::clamp(alpha * x + beta, 0.0, 1.0);
  }
  return x;
}

double unary(UnaryF32 op, double x) {
  switch (op) {
    case UnaryF32::kAbs:
      return std::fabs(x);
    case UnaryF32::kNeg:
      return -x;
    case UnaryF32::kExp:
      return std::exp(x);
    case UnaryF32::kLog:
      return std::log(x);
    case UnaryF32::kSqrt:
      return std::sqrt(x);
    case UnaryF32::kReciprocal:
      return 1.0 / x;
    case UnaryF32::kErf:
      return std::erf(x);
    case UnaryF32::kFloor:
      return std::floor(x);
    case UnaryF32::kCeil:
      return std::ceil(x);
    case UnaryF32::kRound:
      return std::nearbyint(x);
    case UnaryF32::kSin:
      return std::sin(x);
    case UnaryF32::kCos:
      return std::cos(x);
  }
  return x;
}

double binary(BinaryF32 op, double a, double b) {
  switch (op) {
    case BinaryF32::kAdd:
      return a + b;
    case BinaryF32::kSub:
      return a - b;
    case BinaryF32::kMul:
      return a * b;
    case BinaryF32::kDiv:
      return a / b;
    case BinaryF32::kMin:
      return std::min(a, b);
    case BinaryF32::kMax:
      return std::max(a, b);
    case BinaryF32::kPow:
      return std::pow(a, b);
    case BinaryF32::kPRelu:
      return a < 0 ? a * b : a;
  }
  return a;
}

void gemm_f32(const float* a, int64_t lda, const float* b, WeightLayout layout, float* c,
              int64_t ldc, int64_t m, int64_t n, int64_t k, const Epilogue& epilogue) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0.0;
      for (int64_t p = 0; p < k; ++p) {
        const float weight = layout == WeightLayout::kKxN ? b[p * n + j] : b[j * k + p];
        sum += static_cast<double>(a[i * lda + p]) * weight;
      }
      c[i * ldc + j] = static_cast<float>(finish(sum, i, j, epilogue));
    }
  }
}

void gemm_u8s8(const uint8_t* a, int64_t lda, const int8_t* b, WeightLayout layout, int64_t m,
               int64_t n, int64_t k, int32_t a_zero_point, const int32_t* bias,
               const IntegerEpilogue& epilogue) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      int64_t sum = bias == nullptr ? 0 : bias[j];
      for (int64_t p = 0; p < k; ++p) {
        const int64_t weight = layout == WeightLayout::kKxN ? b[p * n + j] : b[j * k + p];
        sum += (a[i * lda + p] - a_zero_point) * weight;
      }
      finish(static_cast<int32_t>(sum), i, j, epilogue);
    }
  }
}

void matmul_u8(const MatmulU8Item& item, const MatmulU8Shape& s, const IntegerEpilogue& epilogue) {
  IntegerEpilogue e = epilogue;
  e.c = item.c;
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      int64_t sum = 0;
      for (int64_t p = 0; p < s.k; ++p) {
        const int64_t at = s.b_layout == WeightLayout::kKxN ? p * s.ldb + j : j * s.ldb + p;
        sum += (item.a[i * s.lda + p] - s.a_zero_point) * (item.b[at] - s.b_zero_point);
      }
      finish(static_cast<int32_t>(sum), i, j, e);
    }
  }
}

void mix_planes_u8(const uint8_t* map, const AttentionU8Item& item, const AttentionShape& s,
                   const AttentionU8Parameters& p) {
  for (int64_t i = 0; i < s.tokens; ++i) {
    for (int64_t d = 0; d < s.value_dim; ++d) {
      float y = 0.0F;
      for (const MapPlane& plane : p.planes) {
        int64_t sum = 0;
        for (int64_t j = 0; j < s.keys; ++j) {
          sum += (plane.table[map[i * s.keys + j]] - p.map_zero_point) *
                 (item.v[j * s.ldv + d] - p.v_zero_point);
        }
        y += static_cast<float>(sum) * plane.scale[d];
      }
      const IntegerEpilogue& e = p.epilogue;
      if (e.output == IntegerOutput::kU8) {
        static_cast<uint8_t*>(item.y)[i * s.ldy + d] =
            static_cast<uint8_t>(to_code(y, e.zero_point, e.lo, e.hi));
      } else {
        static_cast<float*>(item.y)[i * s.ldy + d] = y;
      }
    }
  }
}

void conv_f32(const float* input, const float* ohwi, const ConvShape& s, float* output, int64_t ldc,
              const Epilogue& epilogue) {
  for_outputs(s, [&](int64_t n, int64_t y, int64_t x, int64_t pixel, int64_t channel) {
    double sum = 0.0;
    for_taps(s, n, y, x, channel, [&](int64_t in, int64_t weight, bool inside) {
      for (int64_t c = 0; inside && c < s.group_in(); ++c) {
        sum += static_cast<double>(input[in + c]) * ohwi[weight + c];
      }
    });
    output[pixel * ldc + channel] = static_cast<float>(finish(sum, pixel, channel, epilogue));
  });
}

void conv_u8s8(const uint8_t* input, const int8_t* ohwi, const ConvShape& s, int32_t a_zero_point,
               const int32_t* bias, const IntegerEpilogue& epilogue) {
  for_outputs(s, [&](int64_t n, int64_t y, int64_t x, int64_t pixel, int64_t channel) {
    int64_t sum = bias == nullptr ? 0 : bias[channel];
    for_taps(s, n, y, x, channel, [&](int64_t in, int64_t weight, bool inside) {
      for (int64_t c = 0; inside && c < s.group_in(); ++c) {
        sum += (input[in + c] - a_zero_point) * int64_t{ohwi[weight + c]};
      }
    });
    finish(static_cast<int32_t>(sum), pixel, channel, epilogue);
  });
}

void conv_transpose_f32(const float* input, const float* weights, const ConvShape& s, float* output,
                        const Epilogue& epilogue) {
  for_outputs(s, [&](int64_t n, int64_t y, int64_t x, int64_t pixel, int64_t o) {
    const int64_t group = o / s.group_out();
    double sum = 0.0;
    for (int64_t tap = 0; tap < s.taps(); ++tap) {
      const int64_t up = y + s.pad_top - tap / s.kernel_w * s.dilation_h;
      const int64_t left = x + s.pad_left - tap % s.kernel_w * s.dilation_w;
      const bool reached = up >= 0 && up % s.stride_h == 0 && up / s.stride_h < s.in_h &&
                           left >= 0 && left % s.stride_w == 0 && left / s.stride_w < s.in_w;
      if (!reached) continue;
      const int64_t in = (n * s.in_h + up / s.stride_h) * s.in_w + left / s.stride_w;
      for (int64_t c = group * s.group_in(); c < (group + 1) * s.group_in(); ++c) {
        const int64_t weight = (c * s.group_out() + o % s.group_out()) * s.taps() + tap;
        sum += static_cast<double>(input[in * s.in_channels + c]) * weights[weight];
      }
    }
    output[pixel * s.out_channels + o] = static_cast<float>(finish(sum, pixel, o, epilogue));
  });
}

int32_t to_code(float x, int32_t zero_point, int32_t lo, int32_t hi) {
  if (std::isnan(x)) return zero_point;
  const double code = std::nearbyint(static_cast<double>(x)) + zero_point;
  return static_cast<int32_t>(std::clamp<double>(code, lo, hi));
}

void softmax_f32(const float* x, float* y, const SoftmaxShape& s) {
  std::vector<double> e(static_cast<size_t>(s.columns));
  for (int64_t r = 0; r < s.rows; ++r) {
    double highest = -std::numeric_limits<double>::infinity();
    for (int64_t c = 0; c < s.columns; ++c) {
      double v = x[r * s.ldx + c];
      if (s.mask != nullptr) v += s.mask[r % s.mask_rows * s.columns + c];
      e[static_cast<size_t>(c)] = v;
      highest = std::max(highest, v);
    }
    double sum = 0.0;
    for (double& v : e) {
      v = std::isinf(highest) && highest < 0.0 ? 0.0 : std::exp(v - highest);
      sum += v;
    }
    for (int64_t c = 0; c < s.columns; ++c) {
      y[r * s.ldy + c] = sum > 0.0 ? static_cast<float>(e[static_cast<size_t>(c)] / sum) : 0.0F;
    }
  }
}

void layer_norm_f32(const float* x, float* y, int64_t rows, int64_t columns, const float* gamma,
                    const float* beta, float epsilon) {
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    double mean = 0.0;
    for (int64_t c = 0; c < columns; ++c) mean += x[c];
    mean /= static_cast<double>(columns);
    double variance = 0.0;
    for (int64_t c = 0; c < columns; ++c) variance += (x[c] - mean) * (x[c] - mean);
    variance /= static_cast<double>(columns);
    for (int64_t c = 0; c < columns; ++c) {
      double v = (x[c] - mean) / std::sqrt(variance + epsilon);
      if (gamma != nullptr) v *= gamma[c];
      if (beta != nullptr) v += beta[c];
      y[c] = static_cast<float>(v);
    }
  }
}

void rms_norm_f32(const float* x, float* y, int64_t rows, int64_t columns, const float* gamma,
                  float epsilon) {
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    double square = 0.0;
    for (int64_t c = 0; c < columns; ++c) square += static_cast<double>(x[c]) * x[c];
    const double scale = 1.0 / std::sqrt(square / static_cast<double>(columns) + epsilon);
    for (int64_t c = 0; c < columns; ++c) {
      y[c] = static_cast<float>(x[c] * scale * (gamma == nullptr ? 1.0 : gamma[c]));
    }
  }
}

void max_pool_f32(const float* x, float* y, const ConvShape& shape) {
  max_pool(x, y, shape, -std::numeric_limits<float>::infinity());
}

void max_pool_u8(const uint8_t* x, uint8_t* y, const ConvShape& shape) {
  max_pool(x, y, shape, uint8_t{0});
}

void average_pool_f32(const float* x, float* y, const ConvShape& shape, AverageCount count) {
  const ConvShape s = as_depthwise(shape);
  for_outputs(s, [&](int64_t n, int64_t oy, int64_t ox, int64_t pixel, int64_t c) {
    double sum = 0.0;
    int64_t taps = 0;
    for_taps(s, n, oy, ox, c, [&](int64_t in, int64_t, bool inside) {
      if (inside) sum += x[in];
      if (inside || count == AverageCount::kAllTaps) ++taps;
    });
    y[pixel * s.out_channels + c] =
        taps == 0 ? 0.0F : static_cast<float>(sum / static_cast<double>(taps));
  });
}

void average_pool_u8(const uint8_t* x, uint8_t* y, const ConvShape& shape, AverageCount count,
                     const RequantizeU8& requantize) {
  const ConvShape s = as_depthwise(shape);
  for_outputs(s, [&](int64_t n, int64_t oy, int64_t ox, int64_t pixel, int64_t c) {
    int32_t sum = 0;
    int64_t taps = 0;
    for_taps(s, n, oy, ox, c, [&](int64_t in, int64_t, bool inside) {
      if (inside) sum += x[in] - requantize.zero_in;
      if (inside || count == AverageCount::kAllTaps) ++taps;
    });
    const float scale = requantize.multiplier / static_cast<float>(std::max<int64_t>(taps, 1));
    y[pixel * s.out_channels + c] =
        static_cast<uint8_t>(to_code(static_cast<float>(sum) * scale, requantize.zero_out, 0, 255));
  });
}

}  // namespace ounce::engine::reference
