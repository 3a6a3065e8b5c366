#include "benchmarks/kernels/kernel_case.h"
#include "engine/kernels/f32/gemm_f32.h"
#include "engine/kernels/f32/winograd.h"

namespace ounce::engine {
namespace {

using Scratch = std::vector<std::byte>;

KernelCase f32_case(std::string op, std::string shape, double operations) {
  KernelCase one;
  one.op = std::move(op);
  one.weights = one.activations = "f32";
  one.shape = std::move(shape);
  one.operations = operations;
  return one;
}

KernelCase gemv_f32_case(int64_t k, int64_t n) {
  KernelCase one = f32_case("gemv", product_text(1, k, n), 2.0 * static_cast<double>(k * n));
  one.streamed_bytes = static_cast<double>(k * n) * sizeof(float);
  one.prepare = [=]() -> std::function<void()> {
    const PackedF32 b = pack_f32(random_values<float>(k * n).data(), k, n, WeightLayout::kNxK);
    return [=, weights = Rotation(b, b.data.size() * sizeof(float)), a = random_values<float>(k),
            c = AlignedVector<float>(static_cast<size_t>(n)),
            scratch = Scratch(gemm_f32_scratch_bytes(1, n, k, 1))]() mutable {
      gemm_f32({one_thread(), scratch}, a.data(), k, weights.next(), c.data(), n, 1, {});
    };
  };
  return one;
}

struct ConvF32 {
  explicit ConvF32(const ConvShape& s)
      : input(random_values<float>(s.in_h * s.in_w * s.in_channels)),
        weights(random_values<float>(s.out_channels * s.taps() * s.group_in())),
        bias(random_values<float>(s.out_channels)),
        output(static_cast<size_t>(s.out_pixels() * s.out_channels)) {}
  Epilogue epilogue() const {
    Epilogue e;
    e.bias = bias.data();
    e.activation = {Activation::kRelu};
    return e;
  }
  AlignedVector<float> input, weights, bias, output;
};

std::function<void()> depthwise_call(const ConvShape& s) {
  ConvF32 data(s);
  const PackedDepthwiseF32 packed = pack_depthwise_f32(data.weights.data(), s);
  return
      [=, data = std::move(data), scratch = Scratch(depthwise_f32_scratch_bytes(s, 1))]() mutable {
        depthwise_f32({one_thread(), scratch}, data.input.data(), packed, s, data.output.data(),
                      s.out_channels, data.epilogue());
      };
}

// As a session would run it: by Winograd's method where that is faster.
std::function<void()> conv_call(const ConvShape& s) {
  ConvF32 data(s);
  if (const auto tile = choose_winograd(s)) {
    const PackedWinogradF32 packed = pack_winograd_f32(data.weights.data(), s, *tile);
    return [=, data = std::move(data),
            scratch = Scratch(winograd_f32_scratch_bytes(s, *tile, 1))]() mutable {
      winograd_f32({one_thread(), scratch}, data.input.data(), packed, s, data.output.data(),
                   s.out_channels, data.epilogue());
    };
  }
  const PackedConvF32 packed = pack_conv_f32(data.weights.data(), s);
  return [=, data = std::move(data), scratch = Scratch(conv_f32_scratch_bytes(s, 1))]() mutable {
    conv_f32({one_thread(), scratch}, data.input.data(), packed, s, data.output.data(),
             s.out_channels, data.epilogue());
  };
}

}  // namespace

KernelCase gemm_f32_case(int64_t m, int64_t k, int64_t n) {
  KernelCase one = f32_case("gemm", product_text(m, k, n), 2.0 * static_cast<double>(m * k * n));
  one.prepare = [=]() -> std::function<void()> {
    return [=, a = random_values<float>(m * k), bias = random_values<float>(n),
            b = pack_f32(random_values<float>(k * n).data(), k, n, WeightLayout::kNxK),
            c = AlignedVector<float>(static_cast<size_t>(m * n)),
            scratch = Scratch(gemm_f32_scratch_bytes(m, n, k, 1))]() mutable {
      Epilogue e;
      e.bias = bias.data();
      gemm_f32({one_thread(), scratch}, a.data(), k, b, c.data(), n, m, e);
    };
  };
  return one;
}

KernelCase conv_f32_case(const Image& image) {
  const ConvShape s = image.shape();
  KernelCase one = f32_case(image.op(), image.text(), conv_operations(s));
  one.prepare = [=] { return s.groups > 1 ? depthwise_call(s) : conv_call(s); };
  return one;
}

KernelCases f32_cases() {
  return {gemm_f32_case(768, 768, 3072),
          gemm_f32_case(197, 384, 1536),
          gemv_f32_case(4096, 4096),
          conv_f32_case({14, 256, 256, 3, 1, 1}),
          conv_f32_case({56, 64, 64, 3, 1, 1}),
          conv_f32_case({28, 128, 256, 1, 1, 1}),
          conv_f32_case({14, 256, 512, 3, 2, 1}),
          conv_f32_case({14, 384, 384, 3, 1, 384})};
}

}  // namespace ounce::engine
