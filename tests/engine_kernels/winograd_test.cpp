#include "engine/kernels/f32/winograd.h"
#include "engine/kernels/reference/reference.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

constexpr WinogradTile kTiles[] = {{4, 4}, {4, 2}, {2, 4}, {2, 2}};

ConvShape image(int64_t height, int64_t width, int64_t in, int64_t out, int64_t pad = 1) {
  ConvShape s;
  s.in_h = height;
  s.in_w = width;
  s.in_channels = in;
  s.out_channels = out;
  s.kernel_h = s.kernel_w = 3;
  s.pad_top = s.pad_left = pad;
  s.out_h = height + 2 * pad - 2;
  s.out_w = width + 2 * pad - 2;
  return s;
}

std::vector<ConvShape> shapes() {
  std::vector<ConvShape> list = {
      image(8, 8, 16, 32),     image(7, 7, 64, 48),      image(5, 9, 19, 17),
      image(13, 6, 33, 70),    image(1, 1, 5, 3),        image(2, 3, 8, 16),
      image(14, 14, 20, 40),   image(11, 10, 16, 16, 0), image(6, 6, 12, 9, 3),
      image(30, 31, 256, 24),  // more than one block
      image(9, 40, 48, 33, 2),
  };
  list[0].batch = 3;
  list[3].batch = 2;
  ConvShape asymmetric = image(8, 10, 18, 20);
  asymmetric.pad_top = 0;
  asymmetric.pad_left = 2;
  asymmetric.out_h = 7;   // one row below the image
  asymmetric.out_w = 13;  // beyond its right edge
  list.push_back(asymmetric);
  ConvShape cropped = image(9, 9, 8, 16, 0);
  cropped.pad_top = cropped.pad_left = -1;
  cropped.out_h -= 2;
  cropped.out_w -= 2;
  list.push_back(cropped);
  return list;
}

std::string name_of(const ConvShape& s, WinogradTile tile) {
  return std::to_string(s.in_h) + "x" + std::to_string(s.in_w) + " of " +
         std::to_string(s.in_channels) + " to " + std::to_string(s.out_channels) + ", tiles " +
         std::to_string(tile.height) + "x" + std::to_string(tile.width) + ", seed 21";
}

TEST(WinogradF32, EqualsReferenceUpToRounding) {
  Random random(21);
  int turn = 0;
  const Activation activations[] = {Activation::kNone, Activation::kRelu, Activation::kSilu};
  for (const ConvShape& s : shapes()) {
    const auto input = random.floats(s.batch * s.in_h * s.in_w * s.in_channels);
    const auto weights = random.floats(s.out_channels * 9 * s.in_channels);
    const auto bias = random.floats(s.out_channels);
    const auto residual = random.floats(s.out_pixels() * (s.out_channels + 1));
    for (const WinogradTile tile : kTiles) {
      SCOPED_TRACE(name_of(s, tile));
      Epilogue e;
      if (turn % 4 != 3) e.bias = bias.data();
      if (turn % 2 == 0) e.residual = residual.data();
      e.residual_stride = s.out_channels + 1;
      e.activation = {activations[turn % 3]};
      e.activation_first = turn % 5 == 0;
      const int64_t ldc = s.out_channels + turn++ % 2 * 3;
      std::vector<float> expected(static_cast<size_t>(s.out_pixels() * ldc), 7.0F);
      reference::conv_f32(input.data(), weights.data(), s, expected.data(), ldc, e);
      // The largest error that the transforms leave, of the largest sum of products.
      const float tolerance = 4e-6F * (3.0F + std::sqrt(static_cast<float>(9 * s.in_channels)));
      const PackedWinogradF32 packed = pack_winograd_f32(weights.data(), s, tile);
      on_every_isa([&](ThreadPool& pool) {
        std::vector<float> output(expected.size(), 7.0F);
        Scratch scratch(winograd_f32_scratch_bytes(s, tile, pool.size()));
        winograd_f32({pool, scratch.span()}, input.data(), packed, s, output.data(), ldc, e);
        expect_close(expected, output, {tolerance}, 2e-6F, "output");
      });
      if (HasFailure()) return;
    }
  }
}

TEST(WinogradF32, LargestErrorIsFarBelowTheLargestOutput) {
  Random random(22);
  const ConvShape s = image(13, 18, 128, 16);
  const auto input = random.floats(s.in_h * s.in_w * s.in_channels);
  const auto weights = random.floats(s.out_channels * 9 * s.in_channels);
  std::vector<float> expected(static_cast<size_t>(s.out_pixels() * s.out_channels));
  reference::conv_f32(input.data(), weights.data(), s, expected.data(), s.out_channels, {});
  float largest = 0.0F;
  for (const float value : expected) largest = std::max(largest, std::fabs(value));
  for (const WinogradTile tile : kTiles) {
    SCOPED_TRACE(name_of(s, tile));
    const PackedWinogradF32 packed = pack_winograd_f32(weights.data(), s, tile);
    on_every_isa([&](ThreadPool& pool) {
      std::vector<float> output(expected.size());
      Scratch scratch(winograd_f32_scratch_bytes(s, tile, pool.size()));
      winograd_f32({pool, scratch.span()}, input.data(), packed, s, output.data(), s.out_channels,
                   {});
      expect_close(expected, output, {3e-6F * largest}, 0.0F, "output");
    });
  }
}

TEST(WinogradF32, IsChosenForDense3x3OfStrideOneOnly) {
  EXPECT_TRUE(choose_winograd(image(56, 56, 64, 64)).has_value());
  EXPECT_TRUE(choose_winograd(image(7, 7, 512, 512)).has_value());
  EXPECT_FALSE(choose_winograd(image(1, 1, 256, 256)).has_value())
      << "weights would be all the work";
  for (auto change :
       {+[](ConvShape& s) { s.stride_w = 2; }, +[](ConvShape& s) { s.groups = 2; },
        +[](ConvShape& s) { s.dilation_h = 2; }, +[](ConvShape& s) { s.kernel_h = 5; }}) {
    ConvShape s = image(56, 56, 64, 64);
    change(s);
    EXPECT_FALSE(winograd_applies(s));
    EXPECT_FALSE(choose_winograd(s).has_value());
  }
}

}  // namespace
}  // namespace ounce::engine
