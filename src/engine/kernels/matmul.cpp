#include "engine/kernels/batch_items.h"
#include "engine/kernels/gemm_f32.h"
#include "engine/kernels/gemm_u8s8.h"
#include "engine/kernels/implicit_gemm.h"
#include "engine/kernels/pack.h"

// Products of two activations.
namespace ounce::engine {
namespace {

// Scratch of one item for f32: packed panels, then what the product needs.
struct PlanF32 {
  explicit PlanF32(const MatmulF32Shape& s)
      : panels(ceil_div(s.n, kPanelColumns)), floats(panels * kPanelColumns * s.k) {}
  size_t bytes(int threads) const {
    return ScratchCursor::need<float>(floats) + implicit_gemm_scratch_bytes(1, threads);
  }
  int64_t panels, floats;
};

// Scratch of one item for codes.
struct PlanU8 {
  explicit PlanU8(const MatmulU8Shape& s)
      : panels(ceil_div(s.n, kPanelColumns)), panel_bytes(round_up(s.k, 4) * kPanelColumns) {}
  size_t bytes(const MatmulU8Shape& s, int threads) const {
    return ScratchCursor::need<int8_t>(panels * panel_bytes) +
           2 * ScratchCursor::need<int32_t>(panels * kPanelColumns) +
           ScratchCursor::need<int32_t>(s.m) + implicit_gemm_scratch_bytes(1, threads);
  }
  int64_t panels, panel_bytes;
};

void multiply_item(const Context& context, const MatmulF32Item& item, const MatmulF32Shape& s,
                   const PlanF32& plan, const Epilogue& epilogue) {
  ScratchCursor cursor(context.scratch);
  float* panels = cursor.take<float>(plan.floats);
  const MatrixView<float> b = {item.b, s.ldb, s.k, s.n, s.b_layout};
  pack_in_parallel(context.pool, plan.panels, [&](int64_t first, int64_t last) {
    pack_panels_f32(b, s.alpha, first, last, panels);
  });
  const Context rest = {context.pool, cursor.rest(context.scratch)};
  implicit_gemm_f32(rest, MatrixRows<float>(item.a, s.lda, s.m, s.k), {panels, s.n}, item.c, s.ldc,
                    epilogue);
}

// The exact sum of (a - za) * (b - zb) is
//   sum a * b - za * sum b - zb * sum a + K * za * zb,
// with b stored as b - 128 and zb lowered as much.
void multiply_item(const Context& context, const MatmulU8Item& item, const MatmulU8Shape& s,
                   const PlanU8& plan, const IntegerEpilogue& epilogue) {
  ScratchCursor cursor(context.scratch);
  int8_t* panels = cursor.take<int8_t>(plan.panels * plan.panel_bytes);
  int32_t* column_sums = cursor.take<int32_t>(plan.panels * kPanelColumns);
  int32_t* offsets = cursor.take<int32_t>(plan.panels * kPanelColumns);
  int32_t* row_offsets = cursor.take<int32_t>(s.m);
  const int32_t zero_b = s.b_zero_point - 128;
  const int32_t constant = static_cast<int32_t>(s.k) * s.a_zero_point * zero_b;
  const MatrixView<int8_t> b = {reinterpret_cast<const int8_t*>(item.b), s.ldb, s.k, s.n,
                                s.b_layout};
  pack_in_parallel(context.pool, plan.panels, [&](int64_t first, int64_t last) {
    pack_panels_s8(b, true, first, last, panels, plan.panel_bytes);
    column_sums_s8(panels, plan.panel_bytes, first, last, column_sums);
    for (int64_t n = first * kPanelColumns; n < last * kPanelColumns; ++n) {
      offsets[n] = constant - s.a_zero_point * column_sums[n];
    }
  });
  if (zero_b != 0) {
    row_sums_u8(item.a, s.lda, s.m, s.k, row_offsets);
    for (int64_t i = 0; i < s.m; ++i) row_offsets[i] *= -zero_b;
  }
  IntegerEpilogue e = epilogue;
  e.c = item.c;
  const Context rest = {context.pool, cursor.rest(context.scratch)};
  implicit_gemm_u8s8(rest, MatrixRows<uint8_t>(item.a, s.lda, s.m, s.k),
                     {panels, s.n, column_sums, offsets, zero_b != 0 ? row_offsets : nullptr}, e);
}

}  // namespace

void matmul_f32(const Context& context, std::span<const MatmulF32Item> items,
                const MatmulF32Shape& shape, const Epilogue& epilogue) {
  const PlanF32 plan(shape);
  for_items(context, static_cast<int64_t>(items.size()), plan.bytes(1),
            [&](const Context& own, int64_t i) {
              multiply_item(own, items[static_cast<size_t>(i)], shape, plan, epilogue);
            });
}

size_t matmul_f32_scratch_bytes(const MatmulF32Shape& shape, int64_t items, int threads) {
  const PlanF32 plan(shape);
  return batch_bytes(items, threads, plan.bytes(1), plan.bytes(threads));
}

void matmul_u8(const Context& context, std::span<const MatmulU8Item> items,
               const MatmulU8Shape& shape, const IntegerEpilogue& epilogue) {
  const PlanU8 plan(shape);
  for_items(context, static_cast<int64_t>(items.size()), plan.bytes(shape, 1),
            [&](const Context& own, int64_t i) {
              multiply_item(own, items[static_cast<size_t>(i)], shape, plan, epilogue);
            });
}

size_t matmul_u8_scratch_bytes(const MatmulU8Shape& shape, int64_t items, int threads) {
  const PlanU8 plan(shape);
  return batch_bytes(items, threads, plan.bytes(shape, 1), plan.bytes(shape, threads));
}

}  // namespace ounce::engine
