#include "engine/kernels/reference/reference_bits.h"

#include <algorithm>
#include <cmath>

#include "engine/kernels/reference/reference.h"

namespace ounce::engine::reference {
namespace {

// Values plus 128, as unsigned codes with that zero point.
std::vector<uint8_t> as_codes(const int8_t* values, int64_t count) {
  std::vector<uint8_t> codes(values, values + count);
  for (uint8_t& code : codes) code ^= 0x80;
  return codes;
}

}  // namespace

std::vector<uint64_t> pack_rows(const std::vector<int8_t>& values, int64_t rows, int64_t channels,
                                BitFormat format) {
  const int64_t words = BitFormat::plane_words(channels);
  std::vector<uint64_t> bits(static_cast<size_t>(rows * format.words(channels)));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < channels; ++c) {
      const int code = code_of_value(format, values[static_cast<size_t>(i * channels + c)]);
      for (int p = 0; p < format.planes; ++p) {
        const int64_t word = (i * format.planes + p) * words + c / 64;
        bits[static_cast<size_t>(word)] |= static_cast<uint64_t>(code >> p & 1) << (c % 64);
      }
    }
  }
  return bits;
}

void gemm_bits(const int8_t* a, const int8_t* b, WeightLayout layout, int64_t m, int64_t n,
               int64_t k, int32_t a_zero_point, const int32_t* bias,
               const IntegerEpilogue& epilogue) {
  gemm_u8s8(as_codes(a, m * k).data(), k, b, layout, m, n, k, 128 + a_zero_point, bias, epilogue);
}

void conv_bits(const int8_t* image, const int8_t* ohwi, const ConvShape& shape,
               int32_t a_zero_point, const int32_t* bias, const IntegerEpilogue& epilogue) {
  const int64_t count = shape.batch * shape.in_h * shape.in_w * shape.in_channels;
  conv_u8s8(as_codes(image, count).data(), ohwi, shape, 128 + a_zero_point, bias, epilogue);
}

double attention_bits(const BitAttentionItem& item, const AttentionShape& s, double score_scale,
                      double map_scale, const float* biases) {
  const auto sign = [](float x) { return x < 0.0F ? -1 : 1; };
  double nearest = INFINITY;
  std::vector<double> map(static_cast<size_t>(s.keys));
  for (int64_t i = 0; i < s.tokens; ++i) {
    for (int64_t j = 0; j < s.keys; ++j) {
      int64_t score = 0;
      for (int64_t d = 0; d < s.head_dim; ++d) {
        score += sign(item.q[i * s.ldq + d]) * sign(item.k[j * s.ldk + d]);
      }
      map[static_cast<size_t>(j)] = score_scale * static_cast<double>(score) +
                                    (biases == nullptr ? 0.0 : double{biases[i * s.keys + j]});
    }
    const double most = *std::max_element(map.begin(), map.end());
    double sum = 0;
    for (double& p : map) sum += p = std::exp(p - most);
    for (double& p : map) {
      const double ratio = p / sum / (map_scale / 2);
      nearest = std::min(nearest, std::abs(ratio - 1));
      p = ratio > 1 ? 1 : 0;
    }
    for (int64_t d = 0; d < s.value_dim; ++d) {
      int64_t mixed = 0;
      for (int64_t j = 0; j < s.keys; ++j) {
        if (map[static_cast<size_t>(j)] != 0) mixed += sign(item.v[j * s.ldv + d]);
      }
      item.y[i * s.ldy + d] = static_cast<float>(mixed) * item.y_scale;
    }
  }
  return nearest;
}

}  // namespace ounce::engine::reference
