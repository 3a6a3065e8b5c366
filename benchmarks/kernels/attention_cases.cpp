#include "benchmarks/kernels/kernel_case.h"
#include "engine/kernels/attention/attention_bits.h"

namespace ounce::engine {
namespace {

using Scratch = std::vector<std::byte>;

// One image of DeiT-S: 6 heads of 64, 197 tokens, q, k and v side by side in rows of one tensor.
constexpr int64_t kHeads = 6, kTokens = 197, kHead = 64, kRow = 3 * kHeads * kHead;
constexpr AttentionShape kShape = {kTokens, kTokens, kHead, kHead, kRow, kRow, kRow, kHeads* kHead};

KernelCase attention_case(const std::string& bits, const Multiplication& multiplication) {
  KernelCase one;
  one.op = "attention";
  one.weights = one.activations = bits;
  one.shape = "6x197x64";
  one.operations = 4.0 * kHeads * kTokens * kTokens * kHead;
  one.multiplication = multiplication;
  return one;
}

/// Points an item at head `h` of qkv and of the result.
template <class Item, class T, class Y>
void point_at_head(Item& item, const T* qkv, Y* y, int64_t h) {
  item.q = qkv + h * kHead;
  item.k = item.q + kHeads * kHead;
  item.v = item.k + kHeads * kHead;
  item.y = y + h * kHead;
}

KernelCase f32_case() {
  KernelCase one = attention_case("f32", {});
  one.prepare = []() -> std::function<void()> {
    return [qkv = random_values<float>(kTokens * kRow),
            y = AlignedVector<float>(static_cast<size_t>(kTokens * kHeads * kHead)),
            scratch = Scratch(attention_f32_scratch_bytes(kShape, 1))]() mutable {
      AttentionF32Item items[kHeads];
      for (int64_t h = 0; h < kHeads; ++h) point_at_head(items[h], qkv.data(), y.data(), h);
      attention_f32({one_thread(), scratch}, items, kShape, 1e-4F);
    };
  };
  return one;
}

KernelCase u8_case() {
  KernelCase one = attention_case("8", kInt8Multiplication);
  one.prepare = []() -> std::function<void()> {
    return [qkv = random_values<uint8_t>(kTokens * kRow),
            y = AlignedVector<uint8_t>(static_cast<size_t>(kTokens * kHeads * kHead)),
            scale = AlignedVector<float>(kTokens + kPanelColumns, 1e-4F),
            scratch = Scratch(attention_u8_scratch_bytes(kShape, 1))]() mutable {
      AttentionU8Item items[kHeads];
      for (int64_t h = 0; h < kHeads; ++h) point_at_head(items[h], qkv.data(), y.data(), h);
      AttentionU8Parameters p = {120, 130, 130, scale.data(), 1.0F / 255, 0, {}};
      p.epilogue.output = IntegerOutput::kU8;
      p.epilogue.ldc = kShape.ldy;
      p.epilogue.scale = scale.data();
      p.epilogue.zero_point = 128;
      attention_u8({one_thread(), scratch}, items, kShape, p);
    };
  };
  return one;
}

KernelCase bits_case() {
  KernelCase one = attention_case("1", {Arithmetic::kBits, 1, 1, 1});
  one.prepare = []() -> std::function<void()> {
    return [qkv = random_values<float>(kTokens * kRow),
            y = AlignedVector<float>(static_cast<size_t>(kTokens * kHeads * kHead)),
            softmax = BitSoftmax(kHead, 0.08, 2.0 / kTokens),
            scratch = Scratch(attention_bits_scratch_bytes(kShape, 1))]() mutable {
      BitAttentionItem items[kHeads];
      for (int64_t h = 0; h < kHeads; ++h) {
        point_at_head(items[h], qkv.data(), y.data(), h);
        items[h].softmax = &softmax;
      }
      attention_bits({one_thread(), scratch}, items, kShape);
    };
  };
  return one;
}

}  // namespace

KernelCases attention_cases() {
  return {f32_case(), u8_case(), bits_case()};
}

}  // namespace ounce::engine
