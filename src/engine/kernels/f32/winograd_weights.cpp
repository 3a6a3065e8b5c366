#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include <algorithm>
#include <cstring>

#include "engine/kernels/dispatch.h"
#include "engine/kernels/f32/winograd_points.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/f32/winograd_weights.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/blocking/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

using DD = hn::ScalableTag<double>;
using VD = hn::Vec<DD>;
using DHalf = hn::Rebind<float, DD>;  // as many floats
inline constexpr int64_t kDoubles = HWY_LANES(double);

inline constexpr int64_t kInputs = 16;  // a block of the transform, with all columns of a panel
inline constexpr int64_t kPositions = 36;
static_assert(kInputs % kDoubles == 0);

// The weights of three taps at the kOut + 2 points.
template <int kOut>
HWY_INLINE void transform_line(VD g0, VD g1, VD g2, VD* u) {
  const auto times = [](VD x, double factor) HWY_ATTR { return hn::Mul(x, hn::Set(DD(), factor)); };
  // At a point and at its negative.
  const auto pair = [&](double p, double derivative, VD* out) HWY_ATTR {
    const VD even = times(hn::Add(g0, times(g2, p * p)), 1 / derivative);
    const VD odd = times(g1, p / derivative);
    out[0] = hn::Add(even, odd);
    out[1] = hn::Sub(even, odd);
  };
  using Points = WinogradPoints<kOut>;
  constexpr double a = Points::kNear;
  if constexpr (kOut == 2) {
    u[0] = hn::Neg(g0);
    pair(a, 2 * a * a, u + 1);
  } else {
    constexpr double b = Points::kFar;
    u[0] = times(g0, 1 / (a * a * b * b));
    pair(a, 2 * a * a * (a * a - b * b), u + 1);
    pair(b, 2 * b * b * (b * b - a * a), u + 3);
  }
  u[kOut + 1] = g2;
}

// 3x3 kernels of kInputs inputs of one column at all positions, `position_stride` floats apart.
template <int kHeight, int kWidth>
void transform_column(const float (&taps)[9][kInputs], float* u, int64_t position_stride) {
  const DD d;
  const DHalf d32;
  for (int64_t i = 0; i < kInputs; i += kDoubles) {
    VD g[9];
    for (int t = 0; t < 9; ++t) g[t] = hn::PromoteTo(d, hn::LoadU(d32, taps[t] + i));
    VD columns[3][kHeight + 2];
    for (int x = 0; x < 3; ++x) {
      transform_line<kHeight>(g[x], g[3 + x], g[6 + x], columns[x]);
    }
    for (int y = 0; y < kHeight + 2; ++y) {
      VD row[kWidth + 2];
      transform_line<kWidth>(columns[0][y], columns[1][y], columns[2][y], row);
      for (int x = 0; x < kWidth + 2; ++x) {
        float* out = u + (y * (kWidth + 2) + x) * position_stride + i;
        hn::StoreU(hn::DemoteTo(d32, row[x]), d32, out);
      }
    }
  }
}

// packed[position][panel][inputs][16] of one panel, position_stride floats from one to the next.
template <int kHeight, int kWidth>
void transform_panel(const float* ohwi, int64_t inputs, int64_t columns, float* packed,
                     int64_t position_stride) {
  constexpr int64_t kBlock = kPanelColumns * kInputs;
  alignas(64) float u[kPositions * kBlock];  // [position][column][input]
  for (int64_t first = 0; first < inputs; first += kInputs) {
    const int64_t count = std::min(kInputs, inputs - first);
    for (int64_t column = 0; column < columns; ++column) {
      float taps[9][kInputs] = {};
      for (int64_t t = 0; t < 9; ++t) {
        std::memcpy(taps[t], ohwi + (column * 9 + t) * inputs + first,
                    static_cast<size_t>(count) * sizeof(float));
      }
      transform_column<kHeight, kWidth>(taps, u + column * kInputs, kBlock);
    }
    for (int64_t position = 0; position < (kHeight + 2) * (kWidth + 2); ++position) {
      float* out = packed + position * position_stride + first * kPanelColumns;
      pack_columns(reinterpret_cast<const std::byte*>(u + position * kBlock),
                   kInputs * static_cast<int64_t>(sizeof(float)), columns, count,
                   reinterpret_cast<uint32_t*>(out));
    }
  }
}

void winograd_panel(const float* ohwi, int64_t inputs, int64_t columns, WinogradTile tile,
                    float* packed, int64_t position_stride) {
  const auto transform = tile.height == 4
                             ? (tile.width == 4 ? &transform_panel<4, 4> : &transform_panel<4, 2>)
                             : (tile.width == 4 ? &transform_panel<2, 4> : &transform_panel<2, 2>);
  transform(ohwi, inputs, columns, packed, position_stride);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(winograd_panel);

PackedWinogradF32 pack_winograd_f32(const float* ohwi, const ConvShape& shape, WinogradTile tile) {
  PackedWinogradF32 packed;
  packed.shape = shape;
  packed.tile = tile;
  const int64_t inputs = shape.in_channels;
  const int64_t outputs = shape.out_channels;
  const int64_t stride = inputs * round_up(outputs, kPanelColumns);
  packed.data.resize(static_cast<size_t>(tile.positions() * stride));
  for (int64_t first = 0; first < outputs; first += kPanelColumns) {
    OUNCE_DISPATCH(winograd_panel)
    (ohwi + first * 9 * inputs, inputs, std::min(kPanelColumns, outputs - first), tile,
     packed.data.data() + first * inputs, stride);
  }
  return packed;
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
