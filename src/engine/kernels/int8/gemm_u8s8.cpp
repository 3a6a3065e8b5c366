#include "engine/kernels/int8/gemm_u8s8.h"

#include <cstring>

#include "engine/isa.h"
#include "engine/kernels/blocking/implicit_gemm.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/int8/gemm_u8s8.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/int8/epilogue_u8-inl.h"
#include "engine/kernels/int8/tile_u8s8-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

static_assert(kTileU8S8.rows <= kMostTileRows);

// One product: what is the same for all of its tiles.
struct ProductU8S8 {
  const PanelsS8* b;
  int64_t taps, run;
  const IntegerEpilogue* epilogue;
  int64_t first_panel = 0;  // where the panels begin
};

template <class Dot>
void run_tile_u8s8(const ProductU8S8& p, const uint8_t* const* pointers, const TileRange& tile) {
  const auto [row, rows, column, panels] = tile;
  const int64_t columns = std::min(panels * kPanelColumns, p.b->n - column);
  const int64_t panel_stride = p.taps * round_up(p.run, 4) * kPanelColumns;
  const IntegerEpilogue& e = *p.epilogue;
  alignas(64) int32_t sums[kTileU8S8.rows * kSumStride];
  TileU8S8 t = {pointers,
                p.taps,
                p.run,
                p.b->data + (column / kPanelColumns - p.first_panel) * panel_stride,
                panel_stride,
                p.b->offsets + column,
                p.b->column_sums + column,
                sums,
                kSumStride,
                nullptr,
                e.ldc,
                e.scale + column,
                &e};
  const bool plain = HWY_TARGET != HWY_SCALAR && e.output == IntegerOutput::kU8 &&
                     e.residual == nullptr && e.f32.bias == nullptr &&
                     p.b->row_offsets == nullptr && columns == panels * kPanelColumns;
  if (!plain) {
    tile_function<TileKernelU8S8<Dot>>(rows, panels)(t);
    return finish_sums({sums, rows, columns, row, column, p.b->row_offsets, p.b->n}, e);
  }
  t.codes = static_cast<uint8_t*>(e.c) + row * e.ldc + column;
  tile_function<TileKernelU8S8<Dot>>(rows, panels)(t);
  for (int64_t i = 0; i < (e.table == nullptr ? 0 : rows); ++i) {
    lookup_bytes(t.codes + i * e.ldc, t.codes + i * e.ldc, columns, e.table);
  }
}

template <class Dot>
void multiply(const Context& context, const RowSource<uint8_t>& source, const PanelsS8& b,
              const IntegerEpilogue& epilogue) {
  const TileLimits limits = limits_for_rows<TileKernelU8S8<Dot>>(source.row_count);
  if (b.maker != nullptr) {
    return for_all_made_tiles(
        context, source, b.n, limits, limits.panels * b.maker->panel_elements,
        [&](int64_t panel, int64_t panels, std::byte* own) {
          b.maker->make(panel, panels, reinterpret_cast<int8_t*>(own));
        },
        [&](const uint8_t* const* rows, const TileRange& tile, const std::byte* own) {
          PanelsS8 made = b;
          made.data = reinterpret_cast<const int8_t*>(own);
          const int64_t panel = tile.column / kPanelColumns;
          const int64_t first = panel / limits.panels * limits.panels;
          run_tile_u8s8<Dot>({&made, source.taps, source.run, &epilogue, first}, rows, tile);
        });
  }
  const ProductU8S8 p = {&b, source.taps, source.run, &epilogue};
  for_all_tiles(context, source, b.n, limits,
                [&](const uint8_t* const* rows, const TileRange& tile) {
                  run_tile_u8s8<Dot>(p, rows, tile);
                });
}

void implicit_gemm_u8s8(const Context& context, const RowSource<uint8_t>& source, const PanelsS8& b,
                        const IntegerEpilogue& epilogue) {
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) return multiply<DotPlain>(context, source, b, epilogue);
#endif
  multiply<Dot>(context, source, b, epilogue);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(implicit_gemm_u8s8);

void implicit_gemm_u8s8(const Context& context, const RowSource<uint8_t>& rows, const PanelsS8& b,
                        const IntegerEpilogue& epilogue) {
  OUNCE_DISPATCH(implicit_gemm_u8s8)(context, rows, b, epilogue);
}

IntegerEpilogue epilogue_of_columns(const IntegerEpilogue& epilogue, int64_t first) {
  IntegerEpilogue e = epilogue;
  switch (e.output) {
    case IntegerOutput::kI32:
      e.c = static_cast<int32_t*>(e.c) + first;
      break;
    case IntegerOutput::kF32:
      e.c = static_cast<float*>(e.c) + first;
      break;
    case IntegerOutput::kU8:
      e.c = static_cast<uint8_t*>(e.c) + first;
      break;
    case IntegerOutput::kBits:
      e.c = static_cast<uint16_t*>(e.c) + first / kPanelColumns;
      break;
  }
  for (const float** channels : {&e.scale, &e.f32.bias, &e.f32.residual, &e.prelu_slope,
                                 &e.prelu_gain, &e.prelu_before, &e.prelu_after, &e.sign_shift}) {
    if (*channels != nullptr) *channels += first;
  }
  if (e.residual != nullptr) e.residual += first;
  if (e.thresholds != nullptr) e.thresholds += first;
  if (e.flips != nullptr) e.flips += first / kPanelColumns;
  if (e.sign_bits != nullptr) {
    e.sign_bits = static_cast<uint16_t*>(e.sign_bits) + first / kPanelColumns;
  }
  return e;
}

void gemm_u8s8(const Context& context, const uint8_t* a, int64_t lda, const PackedS8& b, int64_t m,
               const IntegerEpilogue& epilogue) {
  const PanelsS8 panels = {b.data.data(), b.n, b.column_sums.data(), b.offsets.data()};
  implicit_gemm_u8s8(context, MatrixRows<uint8_t>(a, lda, m, b.k), panels, epilogue);
}

size_t gemm_u8s8_scratch_bytes(int64_t, int64_t, int64_t, int threads) {
  return implicit_gemm_scratch_bytes(1, threads);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
