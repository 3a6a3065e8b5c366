#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include "engine/kernels/f32/gemm_f32.h"

#include <cstring>

#include "engine/kernels/blocking/implicit_gemm.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/f32/gemm_f32.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/f32/tile_f32-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

static_assert(kTileF32.rows <= kMostTileRows);

// One product over a range of rows: what is the same for all of its tiles.
struct ProductF32 {
  const float* panels;  // B packed
  int64_t n;
  int64_t taps, run;
  float* c;
  int64_t ldc;
  const Epilogue* epilogue;
  Clamp clamp;              // where the micro-kernel finishes full tiles itself
  int64_t first_panel = 0;  // where the panels begin
};

void run_tile_f32(const ProductF32& p, const float* const* pointers, const TileRange& tile) {
  const Epilogue& e = *p.epilogue;
  const auto [row, rows, column, panels] = tile;
  const int64_t columns = std::min(panels * kPanelColumns, p.n - column);
  const bool full = columns == panels * kPanelColumns;
  const int64_t panel_stride = p.taps * p.run * kPanelColumns;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  TileF32 t = {pointers,
               p.taps,
               p.run,
               p.panels + (column / kPanelColumns - p.first_panel) * panel_stride,
               panel_stride,
               e.bias == nullptr ? nullptr : e.bias + column,
               p.c + row * p.ldc + column,
               p.ldc,
               nullptr,
               0,
               -kInfinity,
               kInfinity};
  const float* residual =
      e.residual == nullptr ? nullptr : e.residual + row * e.residual_stride + column;
  const TileKernelF32::Function function = tile_function<TileKernelF32>(rows, panels);
  if (p.clamp.direct && full) {
    t.residual = residual;
    t.residual_stride = e.residual_stride;
    t.lo = p.clamp.lo;
    t.hi = p.clamp.hi;
    return function(t);
  }
  constexpr int64_t kStride = kMostPanels * kPanelColumns;
  alignas(64) float values[kTileF32.rows * kStride];
  alignas(64) float bias[kStride];
  if (t.bias != nullptr && !full) {
    std::memcpy(bias, t.bias, static_cast<size_t>(columns) * sizeof(float));
    std::memset(bias + columns, 0, static_cast<size_t>(kStride - columns) * sizeof(float));
    t.bias = bias;
  }
  float* c = t.c;
  t.c = values;
  t.ldc = kStride;
  function(t);
  finish_tile({values, kStride, rows, columns, c, p.ldc, residual, e.residual_stride}, e.activation,
              e.activation_first);
}

void implicit_gemm_f32(const Context& context, const RowSource<float>& source, const PanelsF32& b,
                       float* c, int64_t ldc, const Epilogue& epilogue) {
  const ProductF32 p = {b.data, b.n, source.taps, source.run,
                        c,      ldc, &epilogue,   clamp_of(epilogue)};
  const TileLimits limits = limits_for_rows<TileKernelF32>(source.row_count);
  if (b.maker != nullptr) {
    return for_all_made_tiles(
        context, source, b.n, limits, limits.panels * b.maker->panel_elements * 4,
        [&](int64_t panel, int64_t panels, std::byte* own) {
          b.maker->make(panel, panels, reinterpret_cast<float*>(own));
        },
        [&](const float* const* rows, const TileRange& tile, const std::byte* own) {
          ProductF32 made = p;
          made.panels = reinterpret_cast<const float*>(own);
          made.first_panel = tile.column / kPanelColumns / limits.panels * limits.panels;
          run_tile_f32(made, rows, tile);
        });
  }
  for_all_tiles(context, source, b.n, limits, [&](const float* const* rows, const TileRange& tile) {
    run_tile_f32(p, rows, tile);
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(implicit_gemm_f32);

void implicit_gemm_f32(const Context& context, const RowSource<float>& rows, const PanelsF32& b,
                       float* c, int64_t ldc, const Epilogue& epilogue) {
  OUNCE_DISPATCH(implicit_gemm_f32)(context, rows, b, c, ldc, epilogue);
}

size_t implicit_gemm_scratch_bytes(int64_t taps, int threads) {
  return ScratchCursor::need<const float*>(Blocking::pointers_per_thread(taps) * threads);
}

size_t made_gemm_scratch_bytes(int64_t taps, int64_t panel_bytes, int threads) {
  const int64_t bytes = round_up(kMostTilePanels * panel_bytes, 64);
  return implicit_gemm_scratch_bytes(taps, threads) +
         ScratchCursor::need<std::byte>(bytes * threads);
}

void gemm_f32(const Context& context, const float* a, int64_t lda, const PackedF32& b, float* c,
              int64_t ldc, int64_t m, const Epilogue& epilogue) {
  const PanelsF32 panels = {b.data.data(), b.n};
  implicit_gemm_f32(context, MatrixRows<float>(a, lda, m, b.k), panels, c, ldc, epilogue);
}

size_t gemm_f32_scratch_bytes(int64_t, int64_t, int64_t, int threads) {
  return implicit_gemm_scratch_bytes(1, threads);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
