#include "engine/kernels/blocking/batch_items.h"
#include "engine/kernels/blocking/implicit_gemm.h"
#include "engine/kernels/blocking/pack.h"
#include "engine/kernels/f32/gemm_f32.h"
#include "engine/kernels/int8/gemm_u8s8.h"
#include "engine/kernels/int8/right_operand_u8.h"

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

RightOperandU8 right_operand(const MatmulU8Shape& s) {
  return {s.k, s.n, s.a_zero_point, s.b_zero_point};
}

// Scratch of one item for codes.
size_t item_bytes(const MatmulU8Shape& s, int threads) {
  return right_operand(s).scratch_bytes() + ScratchCursor::need<int32_t>(s.m) +
         implicit_gemm_scratch_bytes(1, threads);
}

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

void multiply_item(const Context& context, const MatmulU8Item& item, const MatmulU8Shape& s,
                   const IntegerEpilogue& epilogue) {
  ScratchCursor cursor(context.scratch);
  RightOperandU8 b = right_operand(s);
  b.take(cursor);
  int32_t* row_offsets = cursor.take<int32_t>(s.m);
  b.pack(context.pool, item.b, s.ldb, s.b_layout);
  IntegerEpilogue e = epilogue;
  e.c = item.c;
  const Context rest = {context.pool, cursor.rest(context.scratch)};
  b.multiply(rest, item.a, s.lda, s.m, s.n, row_offsets, e);
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
  for_items(context, static_cast<int64_t>(items.size()), item_bytes(shape, 1),
            [&](const Context& own, int64_t i) {
              multiply_item(own, items[static_cast<size_t>(i)], shape, epilogue);
            });
}

size_t matmul_u8_scratch_bytes(const MatmulU8Shape& shape, int64_t items, int threads) {
  return batch_bytes(items, threads, item_bytes(shape, 1), item_bytes(shape, threads));
}

}  // namespace ounce::engine
