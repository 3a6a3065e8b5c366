#include "engine/kernels/attention/attention.h"
#include "engine/kernels/attention/attention_tasks.h"
#include "engine/kernels/blocking/implicit_gemm.h"
#include "engine/kernels/blocking/pack.h"
#include "engine/kernels/tensor/normalize.h"

// A head's keys and values are packed once; then its tokens pass in blocks: scores, softmax and mix
// of a block while they are in the first-level cache or just behind it.
namespace ounce::engine {
namespace {

// What a thread keeps of one head.
struct AttentionF32Plan {
  explicit AttentionF32Plan(const AttentionShape& s)
      : key_panels(ceil_div(s.keys, kPanelColumns)),
        value_panels(ceil_div(s.value_dim, kPanelColumns)),
        row(key_panels * kPanelColumns),
        block(score_block_rows(row)) {}
  int64_t key_floats(const AttentionShape& s) const { return row * s.head_dim; }
  int64_t value_floats(const AttentionShape& s) const {
    return value_panels * kPanelColumns * s.keys;
  }
  size_t bytes(const AttentionShape& s) const {
    return ScratchCursor::need<float>(key_floats(s)) + ScratchCursor::need<float>(value_floats(s)) +
           ScratchCursor::need<float>(block * row) + implicit_gemm_scratch_bytes(1, 1);
  }
  int64_t key_panels, value_panels;
  int64_t row;    // floats between rows of scores: whole panels, so that all tiles are full
  int64_t block;  // tokens
};

void attend(const AttentionF32Item& item, const AttentionShape& s, const AttentionF32Plan& plan,
            float scale, int64_t first, int64_t last, std::span<std::byte> scratch) {
  ScratchCursor cursor(scratch);
  float* keys = cursor.take<float>(plan.key_floats(s));
  float* values = cursor.take<float>(plan.value_floats(s));
  float* scores = cursor.take<float>(plan.block * plan.row);
  ThreadPool alone(1);
  const Context own = {alone, cursor.rest(scratch)};
  pack_panels_f32({item.k, s.ldk, s.head_dim, s.keys, WeightLayout::kNxK}, scale, 0,
                  plan.key_panels, keys);
  pack_panels_f32({item.v, s.ldv, s.keys, s.value_dim, WeightLayout::kKxN}, 1.0F, 0,
                  plan.value_panels, values);
  for (; first < last; first += plan.block) {
    const int64_t rows = std::min(plan.block, last - first);
    implicit_gemm_f32(own, MatrixRows<float>(item.q + first * s.ldq, s.ldq, rows, s.head_dim),
                      {keys, plan.row}, scores, plan.row, Epilogue{});
    SoftmaxShape softmax = {rows, s.keys, plan.row, plan.row};
    if (item.mask != nullptr) {
      softmax.mask = item.mask + first * s.keys;
      softmax.mask_rows = rows;
    }
    softmax_f32(own, scores, scores, softmax);
    implicit_gemm_f32(own, MatrixRows<float>(scores, plan.row, rows, s.keys), {values, s.value_dim},
                      item.y + first * s.ldy, s.ldy, Epilogue{});
  }
}

}  // namespace

void attention_f32(const Context& context, std::span<const AttentionF32Item> items,
                   const AttentionShape& shape, float scale) {
  const AttentionF32Plan plan(shape);
  const size_t bytes = plan.bytes(shape);
  const AttentionTasks tasks(static_cast<int64_t>(items.size()), shape.tokens, plan.block,
                             context.pool.size());
  tasks.for_each(context.pool, [&](int64_t head, int64_t first, int64_t last, int thread) {
    attend(items[static_cast<size_t>(head)], shape, plan, scale, first, last,
           context.scratch.subspan(static_cast<size_t>(thread) * bytes, bytes));
  });
}

size_t attention_f32_scratch_bytes(const AttentionShape& shape, int threads) {
  return AttentionF32Plan(shape).bytes(shape) * static_cast<size_t>(threads);
}

}  // namespace ounce::engine
