#include "benchmarks/kernels/kernel_case.h"
#include "engine/kernels/bits/conv_bits.h"
#include "engine/kernels/bits/gemm_bits.h"
#include "engine/kernels/reference/reference_bits.h"

namespace ounce::engine {
namespace {

using Scratch = std::vector<std::byte>;

constexpr BitFormat kTwoBits = {BitCoding::kSigned, 2};
constexpr BitFormat kTwoUnsignedBits = {BitCoding::kUnsigned, 2};
constexpr BitFormat kThreeBits = {BitCoding::kSigned, 3};

/// What of a product of planes is counted.
struct Formats {
  const char* activation_bits;
  BitFormat activations;
  const char* weight_bits;
  BitFormat weights;
  int bit_products;  // bits counted for a product of elements
};
// Ternary by ternary counts the products that are not zero and those that are negative.
constexpr Formats kFormats[] = {{"1", kSignBits, "1", kSignBits, 1},
                                {"1", kMapBits, "1", kSignBits, 1},
                                {"1", kSignBits, "ternary", kTernaryBits, 1},
                                {"ternary", kTernaryBits, "ternary", kTernaryBits, 2},
                                {"2", kTwoUnsignedBits, "2", kTwoBits, 4},
                                {"3", kThreeBits, "3", kThreeBits, 9}};

AlignedVector<int8_t> random_bit_values(int64_t count, BitFormat format) {
  AlignedVector<int8_t> values = random_values<int8_t>(count);
  const int codes = 1 << format.planes;
  for (int8_t& value : values) {
    int code = (value + 128) % codes;
    if (format.coding == BitCoding::kTernary && code == 2) code = 0;  // negative, yet zero
    value = value_of_code(format, code);
  }
  return values;
}

AlignedVector<uint64_t> random_bits(int64_t rows, int64_t channels, BitFormat format) {
  const auto values = random_bit_values(rows * channels, format);
  const auto bits = reference::pack_rows({values.begin(), values.end()}, rows, channels, format);
  return {bits.begin(), bits.end()};
}

KernelCase bit_case(std::string op, std::string shape, double operations, const Formats& formats) {
  KernelCase one;
  // {0, 1} is what a binary attention map holds.
  one.op = std::move(op) + (formats.activations == kMapBits ? "_map" : "");
  one.weights = formats.weight_bits;
  one.activations = formats.activation_bits;
  one.shape = std::move(shape);
  one.operations = operations;
  one.multiplication = {Arithmetic::kBits, formats.weights.planes, formats.activations.planes,
                        formats.bit_products};
  return one;
}

KernelCase gemm_bits_case(int64_t m, int64_t k, int64_t n, const Formats& formats) {
  KernelCase one =
      bit_case("gemm", product_text(m, k, n), 2.0 * static_cast<double>(m * k * n), formats);
  one.prepare = [=]() -> std::function<void()> {
    const auto values = random_bit_values(k * n, formats.weights);
    return [=, a = random_bits(m, k, formats.activations),
            b = pack_bits(values.data(), 1, k, n, WeightLayout::kNxK, formats.weights,
                          {formats.activations, 0}, nullptr),
            out = QuantizedOutput(m * n, n, k),
            scratch = Scratch(gemm_bits_scratch_bytes(m, n, k, 1))]() mutable {
      gemm_bits({one_thread(), scratch}, a.data(), formats.activations.words(k), b, m,
                out.epilogue());
    };
  };
  return one;
}

KernelCase gemv_bits_case(int64_t k, int64_t n) {
  const Formats& formats = kFormats[0];
  KernelCase one =
      bit_case("gemv", product_text(1, k, n), 2.0 * static_cast<double>(k * n), formats);
  one.streamed_bytes = static_cast<double>(k * n) / 8;
  one.prepare = [=]() -> std::function<void()> {
    const PackedBits b =
        pack_bits(random_bit_values(k * n, formats.weights).data(), 1, k, n, WeightLayout::kNxK,
                  formats.weights, {formats.activations, 0}, nullptr);
    return [=, weights = Rotation(b, b.data.size() * sizeof(uint32_t)),
            a = random_bits(1, k, formats.activations), out = QuantizedOutput(n, n, k),
            scratch = Scratch(gemm_bits_scratch_bytes(1, n, k, 1))]() mutable {
      gemm_bits({one_thread(), scratch}, a.data(), formats.activations.words(k), weights.next(), 1,
                out.epilogue());
    };
  };
  return one;
}

KernelCase conv_bits_case(const Image& image, const Formats& formats) {
  const ConvShape s = image.shape();
  KernelCase one = bit_case(image.op(), image.text(), conv_operations(s), formats);
  one.prepare = [=]() -> std::function<void()> {
    const auto values =
        random_bit_values(s.out_channels * s.taps() * s.in_channels, formats.weights);
    const PackedConvBits b =
        pack_conv_bits(values.data(), s, formats.weights, {formats.activations, 0}, nullptr);
    return [=, input = random_bits(s.in_h * s.in_w, s.in_channels, formats.activations),
            out = QuantizedOutput(s.out_pixels() * s.out_channels, s.out_channels,
                                  s.taps() * s.in_channels),
            scratch = Scratch(conv_bits_scratch_bytes(b, s, 1))]() mutable {
      conv_bits({one_thread(), scratch}, input.data(), b, s, out.epilogue());
    };
  };
  return one;
}

}  // namespace

KernelCases bits_cases() {
  KernelCases cases;
  for (const Formats& formats : kFormats) {
    cases.push_back(gemm_bits_case(768, 768, 3072, formats));
    cases.push_back(conv_bits_case({14, 256, 256, 3, 1, 1}, formats));
  }
  cases.push_back(gemm_bits_case(768, 3072, 768, kFormats[0]));
  cases.push_back(gemv_bits_case(4096, 4096));
  for (const Image& image :
       {Image{56, 64, 64, 3, 1, 1}, Image{28, 128, 256, 1, 1, 1}, Image{14, 256, 512, 3, 2, 1}}) {
    cases.push_back(conv_bits_case(image, kFormats[0]));
  }
  return cases;
}

}  // namespace ounce::engine
