#include "benchmarks/kernels/kernel_case.h"
#include "engine/kernels/codes/packed_codes.h"

namespace ounce::engine {
namespace {

using Scratch = std::vector<std::byte>;

constexpr int32_t kZeroPoint = 100;
// Weights that share a scale in the weight-only products.
constexpr int64_t kGroup = 32;

const char* name_of(CodeFormat format) {
  constexpr const char* kNames[] = {"1", "ternary", "2", "3", "4", "8"};
  return kNames[static_cast<int>(format)];
}

AlignedVector<int8_t> random_codes(int64_t count, CodeFormat format) {
  AlignedVector<int8_t> codes = random_values<int8_t>(count);
  const int32_t lowest = lowest_code(format);
  const int32_t span = highest_code(format) - lowest + 1;
  for (int8_t& code : codes) {
    const int32_t value =
        format == CodeFormat::kSign ? (code & 1) * 2 - 1 : (code + 128) % span + lowest;
    code = static_cast<int8_t>(value);
  }
  return codes;
}

PackedCodes random_weights(int64_t k, int64_t n, CodeFormat format, int64_t group) {
  const auto codes = random_codes(k * n, format);
  const AlignedVector<float> scales(static_cast<size_t>(n * (group == 0 ? 1 : ceil_div(k, group))),
                                    0.01F);
  CodeMatrix matrix;
  matrix.format = format;
  matrix.run = k;
  matrix.n = n;
  matrix.codes = codes.data();
  matrix.group = group;
  if (group > 0) matrix.scales = scales.data();
  return pack_codes(matrix, kZeroPoint, nullptr, ScaleStorage::kF16);
}

KernelCase codes_case(std::string op, std::string shape, double operations, CodeFormat format,
                      Arithmetic arithmetic) {
  const bool exact = arithmetic == Arithmetic::kInt8;
  KernelCase one;
  one.op = std::move(op);
  one.weights = name_of(format);
  one.activations = exact ? "8" : "f32";
  one.shape = std::move(shape);
  one.operations = operations;
  one.multiplication = {arithmetic, code_bits(format), exact ? 8 : 32};
  return one;
}

double product_operations(int64_t m, int64_t k, int64_t n) {
  return 2.0 * static_cast<double>(m * k * n);
}

// Bytes of a product's weights: what one row of activations has to wait for.
double streamed_bytes(int64_t k, int64_t n, CodeFormat format, int64_t group) {
  const double scales = group == 0 ? 0 : 16.0 / static_cast<double>(group);
  return static_cast<double>(k * n) * (code_bits(format) + scales) / 8;
}

KernelCase integer_case(int64_t m, int64_t k, int64_t n, CodeFormat format) {
  KernelCase one = codes_case(m == 1 ? "gemv" : "gemm", product_text(m, k, n),
                              product_operations(m, k, n), format, Arithmetic::kInt8);
  if (m == 1) one.streamed_bytes = streamed_bytes(k, n, format, 0);
  one.prepare = [=]() -> std::function<void()> {
    const PackedCodes b = random_weights(k, n, format, 0);
    return [=, weights = Rotation(b, m == 1 ? b.data.size() : 0), a = random_values<uint8_t>(m * k),
            out = QuantizedOutput(m * n, n, k),
            scratch = Scratch(gemm_codes_scratch_bytes(b, m, 1))]() mutable {
      gemm_u8_codes({one_thread(), scratch}, a.data(), k, weights.next(), m, out.epilogue());
    };
  };
  return one;
}

KernelCase weight_only_case(int64_t m, int64_t k, int64_t n, CodeFormat format) {
  KernelCase one = codes_case(m == 1 ? "gemv" : "gemm", product_text(m, k, n),
                              product_operations(m, k, n), format, Arithmetic::kF32);
  if (m == 1) one.streamed_bytes = streamed_bytes(k, n, format, kGroup);
  one.prepare = [=]() -> std::function<void()> {
    const PackedCodes b = random_weights(k, n, format, kGroup);
    return [=, weights = Rotation(b, m == 1 ? b.data.size() : 0), a = random_values<float>(m * k),
            c = AlignedVector<float>(static_cast<size_t>(m * n)),
            scratch = Scratch(gemm_codes_scratch_bytes(b, m, 1))]() mutable {
      gemm_f32_codes({one_thread(), scratch}, a.data(), k, weights.next(), m, c.data(), n, {});
    };
  };
  return one;
}

// Scales of groups with activations that were quantized on the fly.
KernelCase grouped_case(int64_t m, int64_t k, int64_t n, CodeFormat format) {
  KernelCase one = codes_case(m == 1 ? "gemv_grouped" : "gemm_grouped", product_text(m, k, n),
                              product_operations(m, k, n), format, Arithmetic::kInt8);
  if (m == 1) one.streamed_bytes = streamed_bytes(k, n, format, kGroup);
  one.prepare = [=]() -> std::function<void()> {
    const PackedCodes b = random_weights(k, n, format, kGroup);
    return [=, weights = Rotation(b, m == 1 ? b.data.size() : 0), a = random_values<uint8_t>(m * k),
            scales = AlignedVector<float>(static_cast<size_t>(m), 0.01F),
            c = AlignedVector<float>(static_cast<size_t>(m * n)),
            scratch = Scratch(gemm_codes_scratch_bytes(b, m, 1))]() mutable {
      const QuantizedRows rows = {a.data(), k, scales.data(), nullptr, false};
      gemm_quantized_codes({one_thread(), scratch}, rows, weights.next(), m, c.data(), n, {});
    };
  };
  return one;
}

KernelCase conv_codes_case(const Image& image, CodeFormat format) {
  const ConvShape s = image.shape();
  KernelCase one =
      codes_case(image.op(), image.text(), conv_operations(s), format, Arithmetic::kInt8);
  one.prepare = [=]() -> std::function<void()> {
    const auto codes = random_codes(s.out_channels * s.taps() * s.group_in(), format);
    const PackedConvCodes b =
        pack_conv_codes(codes.data(), format, s, kZeroPoint, nullptr, nullptr);
    return [=, input = random_values<uint8_t>(s.in_h * s.in_w * s.in_channels),
            out = QuantizedOutput(s.out_pixels() * s.out_channels, s.out_channels,
                                  s.taps() * s.group_in()),
            scratch = Scratch(conv_u8_codes_scratch_bytes(b, s, 1))]() mutable {
      conv_u8_codes({one_thread(), scratch}, input.data(), b, s, out.epilogue());
    };
  };
  return one;
}

}  // namespace

KernelCases codes_cases() {
  KernelCases cases;
  for (const CodeFormat format : {CodeFormat::kInt4, CodeFormat::kInt3, CodeFormat::kInt2,
                                  CodeFormat::kTernary, CodeFormat::kSign}) {
    cases.push_back(integer_case(768, 768, 3072, format));
    cases.push_back(integer_case(1, 4096, 4096, format));
    cases.push_back(integer_case(1, 4096, 14336, format));
    cases.push_back(grouped_case(1, 4096, 4096, format));
    cases.push_back(grouped_case(256, 1024, 1024, format));
    cases.push_back(conv_codes_case({14, 256, 256, 3, 1, 1}, format));
  }
  for (const CodeFormat format :
       {CodeFormat::kInt8, CodeFormat::kInt4, CodeFormat::kInt3, CodeFormat::kInt2}) {
    cases.push_back(weight_only_case(1, 4096, 4096, format));
    cases.push_back(weight_only_case(128, 768, 3072, format));
  }
  return cases;
}

}  // namespace ounce::engine
