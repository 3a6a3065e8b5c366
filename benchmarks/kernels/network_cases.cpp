#include "benchmarks/kernels/kernel_case.h"
#include "engine/kernels/bits/gemm_bits.h"
#include "engine/kernels/f32/gemm_f32.h"

namespace ounce::engine {
namespace {

using Scratch = std::vector<std::byte>;

// `size`: of the input; the output is `stride` times as large.
KernelCase conv_transpose_f32_case(const Image& image) {
  ConvShape s = image.shape();
  s.pad_top = s.pad_left = (image.kernel - image.stride) / 2;
  s.out_h = s.out_w = image.size * image.stride;
  KernelCase one;
  one.op = "conv_transpose" + std::to_string(image.kernel) + "x" + std::to_string(image.kernel);
  one.weights = one.activations = "f32";
  one.shape = image.text();
  one.operations = 2.0 * static_cast<double>(s.in_h * s.in_w * s.taps()) *
                   static_cast<double>(s.in_channels * s.group_out());
  one.prepare = [=]() -> std::function<void()> {
    const auto weights = random_values<float>(s.out_channels * s.taps() * s.group_in());
    const auto bias = random_values<float>(s.out_channels);
    const PackedConvTransposeF32 packed = pack_conv_transpose_f32(weights.data(), bias.data(), s);
    return [=, input = random_values<float>(s.in_h * s.in_w * s.in_channels),
            output = AlignedVector<float>(static_cast<size_t>(s.out_pixels() * s.out_channels)),
            scratch = Scratch(conv_transpose_f32_scratch_bytes(packed, 1))]() mutable {
      conv_transpose_f32({one_thread(), scratch}, input.data(), packed, output.data(), {});
    };
  };
  return one;
}

// Attention of one image of DeiT-S: 6 heads of 64, 197 tokens.
constexpr int64_t kHeads = 6, kTokens = 197, kHead = 64, kRow = 3 * kHeads * kHead;

enum class Half { kScores, kValues };

KernelCase attention_case(Half half, const std::string& bits) {
  KernelCase one;
  one.op = half == Half::kScores ? "attention_scores" : "attention_values";
  one.weights = one.activations = bits;
  one.shape = "6x197x64";
  one.operations = 2.0 * kHeads * kTokens * kTokens * kHead;
  return one;
}

KernelCase attention_f32_case(Half half) {
  KernelCase one = attention_case(half, "f32");
  one.prepare = [=]() -> std::function<void()> {
    const bool scores = half == Half::kScores;
    const MatmulF32Shape shape =
        scores
            ? MatmulF32Shape{kTokens, kTokens, kHead, kRow, kRow, kTokens, WeightLayout::kNxK,
                             0.125F}
            : MatmulF32Shape{
                  kTokens, kHead, kTokens, kTokens, kRow, kHeads * kHead, WeightLayout::kKxN, 1.0F};
    return [=, qkv = random_values<float>(kTokens * kRow),
            map = random_values<float>(kHeads * kTokens * kTokens),
            out = AlignedVector<float>(static_cast<size_t>(kTokens * kHeads * kHead)),
            items = std::vector<MatmulF32Item>(kHeads),
            scratch = Scratch(matmul_f32_scratch_bytes(shape, kHeads, 1))]() mutable {
      for (int64_t h = 0; h < kHeads; ++h) {
        const float* q = qkv.data() + h * kHead;
        float* m = map.data() + h * kTokens * kTokens;
        items[static_cast<size_t>(h)] =
            scores ? MatmulF32Item{q, q + kHeads * kHead, m}
                   : MatmulF32Item{m, q + 2 * kHeads * kHead, out.data() + h * kHead};
      }
      matmul_f32({one_thread(), scratch}, items, shape, {});
    };
  };
  return one;
}

KernelCase attention_u8_case(Half half) {
  KernelCase one = attention_case(half, "8");
  one.multiplication = kInt8Multiplication;
  one.prepare = [=]() -> std::function<void()> {
    const bool scores = half == Half::kScores;
    const MatmulU8Shape shape =
        scores ? MatmulU8Shape{kTokens, kTokens, kHead, kRow, kRow, WeightLayout::kNxK, 120, 130}
               : MatmulU8Shape{kTokens, kHead, kTokens, kTokens, kRow, WeightLayout::kKxN, 0, 130};
    return [=, qkv = random_values<uint8_t>(kTokens * kRow),
            map = random_values<uint8_t>(kHeads * kTokens * kTokens),
            sums = AlignedVector<float>(static_cast<size_t>(kHeads * kTokens * kTokens)),
            codes = AlignedVector<uint8_t>(static_cast<size_t>(kTokens * kHeads * kHead)),
            scale = AlignedVector<float>(kTokens + kPanelColumns, 1e-4F),
            items = std::vector<MatmulU8Item>(kHeads),
            scratch = Scratch(matmul_u8_scratch_bytes(shape, kHeads, 1))]() mutable {
      IntegerEpilogue e;
      e.output = scores ? IntegerOutput::kF32 : IntegerOutput::kU8;
      e.ldc = scores ? kTokens : kHeads * kHead;
      e.scale = scale.data();
      e.zero_point = 128;
      for (int64_t h = 0; h < kHeads; ++h) {
        const uint8_t* q = qkv.data() + h * kHead;
        const int64_t at = h * kTokens * kTokens;
        items[static_cast<size_t>(h)] =
            scores
                ? MatmulU8Item{q, q + kHeads * kHead, sums.data() + at}
                : MatmulU8Item{map.data() + at, q + 2 * kHeads * kHead, codes.data() + h * kHead};
      }
      matmul_u8({one_thread(), scratch}, items, shape, e);
    };
  };
  return one;
}

// With the packing of both operands, which are floats. A map is packed as signs are, from its
// threshold on.
KernelCase attention_bits_case(Half half) {
  KernelCase one = attention_case(half, "1");
  one.multiplication = {Arithmetic::kBits, 1, 1, 1};
  one.prepare = [=]() -> std::function<void()> {
    const bool scores = half == Half::kScores;
    const int64_t head_words = BitFormat::plane_words(kHead);
    const int64_t map_words = BitFormat::plane_words(kTokens);
    const MatmulBitsShape shape =
        scores
            ? MatmulBitsShape{kTokens, kTokens, kHead, head_words, head_words, WeightLayout::kNxK}
            : MatmulBitsShape{kTokens, kHead, kTokens, map_words, head_words, WeightLayout::kKxN,
                              kMapBits};
    return [=, qkv = random_values<float>(kTokens * kRow),
            map = random_values<float>(kHeads * kTokens * kTokens),
            out = AlignedVector<float>(static_cast<size_t>(kHeads * kTokens * kTokens)),
            left = AlignedVector<uint64_t>(static_cast<size_t>(kHeads * kTokens * shape.lda)),
            right = AlignedVector<uint64_t>(static_cast<size_t>(kHeads * kTokens * shape.ldb)),
            scale = AlignedVector<float>(kTokens + kPanelColumns, 0.125F),
            threshold = AlignedVector<float>(kTokens, -0.5F),
            items = std::vector<MatmulBitsItem>(kHeads),
            scratch = Scratch(matmul_bits_scratch_bytes(shape, kHeads, 1))]() mutable {
      const Context context = {one_thread(), scratch};
      for (int64_t h = 0; h < kHeads; ++h) {
        const float* q = qkv.data() + h * kHead;
        const float* a = scores ? q : map.data() + h * kTokens * kTokens;
        const float* b = q + (scores ? 1 : 2) * kHeads * kHead;
        uint64_t* a_bits = left.data() + h * kTokens * shape.lda;
        uint64_t* b_bits = right.data() + h * kTokens * shape.ldb;
        pack_signs(context, a, scores ? kRow : kTokens, kTokens, shape.k,
                   scores ? nullptr : threshold.data(), shape.lda, a_bits);
        pack_signs(context, b, kRow, kTokens, kHead, nullptr, shape.ldb, b_bits);
        float* c = out.data() + h * (scores ? kTokens * kTokens : kHead);
        items[static_cast<size_t>(h)] = {a_bits, b_bits, c, scale.data()};
      }
      IntegerEpilogue e;
      e.output = IntegerOutput::kF32;
      e.ldc = scores ? kTokens : kHeads * kHead;
      matmul_bits(context, items, shape, e);
    };
  };
  return one;
}

std::vector<Image> network_images() {
  std::vector<Image> images = {
      {224, 3, 64, 7, 2, 1},     {56, 64, 64, 3, 1, 1},     {56, 64, 128, 3, 2, 1},
      {28, 128, 128, 3, 1, 1},   {7, 512, 512, 3, 1, 1},    {56, 64, 128, 1, 2, 1},
      {14, 256, 512, 1, 2, 1},   {224, 3, 32, 3, 2, 1},     {112, 32, 16, 1, 1, 1},
      {112, 32, 32, 3, 1, 32},   {112, 96, 96, 3, 2, 96},   {56, 144, 144, 3, 1, 144},
      {56, 144, 144, 3, 2, 144}, {28, 192, 192, 3, 1, 192}, {14, 576, 576, 3, 2, 576},
      {7, 960, 960, 3, 1, 960},  {28, 240, 240, 5, 1, 240}};
  for (const int64_t c : {8, 16, 24, 32, 48, 96}) {
    for (const int64_t kernel : {3, 5}) {
      for (const int64_t size : {160, 56, 28}) images.push_back({size, c, c, kernel, 1, c});
    }
    images.push_back({160, c, c, 3, 2, c});
  }
  return images;
}

}  // namespace

KernelCases network_cases() {
  KernelCases cases;
  const int64_t products[][3] = {
      {197, 384, 1152}, {197, 384, 384},   {197, 1536, 384}, {12544, 16, 96},
      {3136, 24, 144},  {784, 144, 32},    {196, 384, 64},   {196, 96, 576},
      {49, 960, 160},   {49, 320, 1280},   {784, 512, 128},  {196, 1024, 256},
      {49, 2048, 512},  {128, 4096, 1024}, {1, 1280, 1000},  {1024, 1024, 1024}};
  for (const auto& p : products) {
    cases.push_back(gemm_f32_case(p[0], p[1], p[2]));
    cases.push_back(gemm_u8s8_case(p[0], p[1], p[2]));
  }
  for (const Image& image : network_images()) {
    cases.push_back(conv_f32_case(image));
    cases.push_back(conv_u8s8_case(image));
  }
  const Image transposed[] = {
      {80, 24, 24, 2, 2, 1}, {160, 24, 1, 2, 2, 1}, {28, 256, 128, 2, 2, 1}, {56, 64, 32, 4, 2, 1}};
  for (const Image& image : transposed) cases.push_back(conv_transpose_f32_case(image));
  for (const Half half : {Half::kScores, Half::kValues}) {
    cases.push_back(attention_f32_case(half));
    cases.push_back(attention_u8_case(half));
    cases.push_back(attention_bits_case(half));
  }
  return cases;
}

}  // namespace ounce::engine
