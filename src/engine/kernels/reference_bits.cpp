#include "engine/kernels/reference_bits.h"

#include "engine/kernels/reference.h"

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

}  // namespace ounce::engine::reference
