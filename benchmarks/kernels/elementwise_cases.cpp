#include "benchmarks/kernels/kernel_case.h"
#include "engine/kernels/int8/quantized.h"
#include "engine/kernels/tensor/elementwise.h"
#include "engine/kernels/tensor/normalize.h"

namespace ounce::engine {
namespace {

/// `make_call(x, y)` returns one call from `count` elements of X to as many of Y.
template <class X, class Y, class Call>
KernelCase elementwise_case(std::string op, std::string shape, int64_t count, Call call) {
  KernelCase one;
  one.op = std::move(op);
  one.weights = "-";
  one.activations = sizeof(X) == 1 ? "8" : "f32";
  one.shape = std::move(shape);
  one.operations = static_cast<double>(count);
  one.prepare = [=]() -> std::function<void()> {
    auto x = random_values<X>(count);
    if constexpr (sizeof(X) == 4) {
      for (X& value : x) value *= 0.03F;
    }
    return [=, x = std::move(x), y = AlignedVector<Y>(static_cast<size_t>(count))]() mutable {
      call(Context{one_thread(), {}}, x.data(), y.data());
    };
  };
  return one;
}

}  // namespace

KernelCases elementwise_cases() {
  constexpr int64_t kTokens = 197, kWidth = 1536, kHidden = kTokens * kWidth;
  constexpr int64_t kMapRows = 6 * kTokens, kMap = kMapRows * kTokens;
  constexpr int64_t kPicture = 224 * 224 * 3, kImage = 56 * 56 * 64;
  const auto activation = [&](std::string name, Activation kind) {
    return elementwise_case<float, float>(std::move(name), "197x1536", kHidden,
                                          [=](const Context& context, auto* x, auto* y) {
                                            activate_f32(context, x, y, kHidden, {kind});
                                          });
  };
  return {activation("gelu_erf", Activation::kGeluErf),
          activation("silu", Activation::kSilu),
          elementwise_case<float, float>(
              "softmax", "1182x197", kMap,
              [](const Context& context, auto* x, auto* y) {
                softmax_f32(context, x, y, {kMapRows, kTokens, kTokens, kTokens});
              }),
          elementwise_case<float, float>("layer_norm", "197x384", kTokens * 384,
                                         [](const Context& context, auto* x, auto* y) {
                                           layer_norm_f32(context, x, y, kTokens, 384, x, x, 1e-6F);
                                         }),
          elementwise_case<float, uint8_t>("quantize", "224x224x3", kPicture,
                                           [](const Context& context, auto* x, auto* y) {
                                             quantize_u8(context, x, y, kPicture, {0.9F, 120});
                                           }),
          elementwise_case<uint8_t, uint8_t>("lookup", "197x1536", kHidden,
                                             [](const Context& context, auto* x, auto* y) {
                                               lookup_u8(context, x, y, kHidden, x);
                                             }),
          elementwise_case<uint8_t, uint8_t>(
              "add", "56x56x64", kImage, [](const Context& context, auto* x, auto* y) {
                add_u8(context, x, x, y, kImage, add_parameters(0.5F, 3, 0.6F, 4, 1.0F, 5));
              })};
}

}  // namespace ounce::engine
