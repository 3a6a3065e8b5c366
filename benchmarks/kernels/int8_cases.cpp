#include "benchmarks/kernels/kernel_case.h"

namespace ounce::engine {
namespace {

using Scratch = std::vector<std::byte>;

constexpr int32_t kZeroPoint = 100;

KernelCase int8_case(std::string op, std::string shape, double operations) {
  KernelCase one;
  one.op = std::move(op);
  one.weights = one.activations = "8";
  one.shape = std::move(shape);
  one.operations = operations;
  one.multiplication = kInt8Multiplication;
  return one;
}

PackedS8 random_weights(int64_t k, int64_t n) {
  return pack_s8(random_values<int8_t>(k * n).data(), k, n, WeightLayout::kNxK, kZeroPoint,
                 nullptr);
}

KernelCase gemv_u8s8_case(int64_t k, int64_t n) {
  KernelCase one = int8_case("gemv", product_text(1, k, n), 2.0 * static_cast<double>(k * n));
  one.streamed_bytes = static_cast<double>(k * n);
  one.prepare = [=]() -> std::function<void()> {
    const PackedS8 b = random_weights(k, n);
    return [=, weights = Rotation(b, b.data.size()), a = random_values<uint8_t>(k),
            out = QuantizedOutput(n, n, k),
            scratch = Scratch(gemm_u8s8_scratch_bytes(1, n, k, 1))]() mutable {
      gemm_u8s8({one_thread(), scratch}, a.data(), k, weights.next(), 1, out.epilogue());
    };
  };
  return one;
}

struct ConvU8 {
  explicit ConvU8(const ConvShape& s)
      : input(random_values<uint8_t>(s.in_h * s.in_w * s.in_channels)),
        weights(random_values<int8_t>(s.out_channels * s.taps() * s.group_in())),
        out(s.out_pixels() * s.out_channels, s.out_channels, s.taps() * s.group_in()) {}
  AlignedVector<uint8_t> input;
  AlignedVector<int8_t> weights;
  QuantizedOutput out;
};

std::function<void()> depthwise_call(const ConvShape& s) {
  ConvU8 data(s);
  const PackedDepthwiseS8 packed = pack_depthwise_s8(data.weights.data(), s, kZeroPoint, nullptr);
  return
      [=, data = std::move(data), scratch = Scratch(depthwise_u8s8_scratch_bytes(s, 1))]() mutable {
        depthwise_u8s8({one_thread(), scratch}, data.input.data(), packed, s, data.out.epilogue());
      };
}

std::function<void()> conv_call(const ConvShape& s) {
  ConvU8 data(s);
  const PackedConvS8 packed = pack_conv_s8(data.weights.data(), s, kZeroPoint, nullptr);
  return [=, data = std::move(data), scratch = Scratch(conv_u8s8_scratch_bytes(s, 1))]() mutable {
    conv_u8s8({one_thread(), scratch}, data.input.data(), packed, s, data.out.epilogue());
  };
}

}  // namespace

KernelCase gemm_u8s8_case(int64_t m, int64_t k, int64_t n) {
  KernelCase one = int8_case("gemm", product_text(m, k, n), 2.0 * static_cast<double>(m * k * n));
  one.prepare = [=]() -> std::function<void()> {
    return [=, a = random_values<uint8_t>(m * k), b = random_weights(k, n),
            out = QuantizedOutput(m * n, n, k),
            scratch = Scratch(gemm_u8s8_scratch_bytes(m, n, k, 1))]() mutable {
      gemm_u8s8({one_thread(), scratch}, a.data(), k, b, m, out.epilogue());
    };
  };
  return one;
}

KernelCase conv_u8s8_case(const Image& image) {
  const ConvShape s = image.shape();
  KernelCase one = int8_case(image.op(), image.text(), conv_operations(s));
  one.prepare = [=] { return s.groups > 1 ? depthwise_call(s) : conv_call(s); };
  return one;
}

KernelCases int8_cases() {
  return {gemm_u8s8_case(768, 768, 3072),
          gemm_u8s8_case(197, 384, 1536),
          gemv_u8s8_case(4096, 4096),
          conv_u8s8_case({14, 256, 256, 3, 1, 1}),
          conv_u8s8_case({56, 64, 64, 3, 1, 1}),
          conv_u8s8_case({28, 128, 256, 1, 1, 1}),
          conv_u8s8_case({14, 256, 512, 3, 2, 1}),
          conv_u8s8_case({14, 384, 384, 3, 1, 384})};
}

}  // namespace ounce::engine
