#include "engine/kernels/attention/attention.h"
#include "engine/kernels/attention/attention_tasks.h"
#include "engine/kernels/int8/quantized.h"
#include "engine/kernels/int8/right_operand_u8.h"
#include "engine/kernels/tensor/normalize.h"

// As attention_f32: keys and values packed once a head, then blocks of tokens.
namespace ounce::engine {
namespace {

// What a thread keeps of one head.
struct AttentionU8Plan {
  explicit AttentionU8Plan(const AttentionShape& s)
      : row(round_up(s.keys, kPanelColumns)), block(score_block_rows(row)) {}
  size_t bytes(const AttentionShape& s) const {
    return RightOperandU8(s.head_dim, s.keys, 0, 0).scratch_bytes() +
           RightOperandU8(s.keys, s.value_dim, 0, 0).scratch_bytes() +
           ScratchCursor::need<int32_t>(block) + ScratchCursor::need<float>(block * row) +
           2 * ScratchCursor::need<uint8_t>(block * row) +
           ScratchCursor::need<float>(block * s.value_dim) + implicit_gemm_scratch_bytes(1, 1);
  }
  int64_t row;    // elements between rows of scores and map: whole panels
  int64_t block;  // tokens
};

class Head {
 public:
  Head(const AttentionU8Item& item, const AttentionShape& s, const AttentionU8Parameters& p,
       std::span<std::byte> scratch)
      : item_(item),
        s_(s),
        p_(p),
        plan_(s),
        keys_(s.head_dim, s.keys, p.q_zero_point, p.k_zero_point),
        values_(s.keys, s.value_dim, p.map_zero_point, p.v_zero_point) {
    ScratchCursor cursor(scratch);
    keys_.take(cursor);
    values_.take(cursor);
    row_offsets_ = cursor.take<int32_t>(plan_.block);
    scores_ = cursor.take<float>(plan_.block * plan_.row);
    map_ = cursor.take<uint8_t>(plan_.block * plan_.row);
    plane_ = cursor.take<uint8_t>(plan_.block * plan_.row);
    sums_ = cursor.take<float>(plan_.block * s.value_dim);
    rest_ = cursor.rest(scratch);
  }

  void attend(int64_t first, int64_t last) {
    ThreadPool alone(1);
    const Context own = {alone, rest_};
    keys_.pack(alone, item_.k, s_.ldk, WeightLayout::kNxK);
    values_.pack(alone, item_.v, s_.ldv, WeightLayout::kKxN);
    for (; first < last; first += plan_.block) {
      attend_block(own, first, std::min(plan_.block, last - first));
    }
  }

 private:
  void attend_block(const Context& own, int64_t first, int64_t rows) {
    IntegerEpilogue scores;
    scores.output = IntegerOutput::kF32;
    scores.c = scores_;
    scores.ldc = plan_.row;
    scores.scale = p_.score_scale;
    keys_.multiply(own, item_.q + first * s_.ldq, s_.ldq, rows, plan_.row, row_offsets_, scores);
    SoftmaxShape softmax;
    softmax.rows = rows;
    softmax.columns = s_.keys;
    softmax.ldx = softmax.ldy = plan_.row;
    softmax_f32(own, scores_, scores_, softmax);
    const int64_t elements = rows * plan_.row;
    if (p_.log_codes) {
      quantize_log(own, scores_, map_, elements, p_.log_codes->base, p_.log_codes->bits);
    } else {
      quantize_u8(own, scores_, map_, elements, {p_.map_scale, p_.map_zero_point});
    }
    IntegerEpilogue mixed = p_.epilogue;
    const int64_t element = mixed.output == IntegerOutput::kU8 ? 1 : sizeof(float);
    mixed.c = static_cast<std::byte*>(item_.y) + first * s_.ldy * element;
    if (p_.planes.empty()) {
      values_.multiply(own, map_, plan_.row, rows, s_.value_dim, row_offsets_, mixed);
    } else {
      mix_planes(own, rows, mixed);
    }
  }

  void mix_planes(const Context& own, int64_t rows, const IntegerEpilogue& mixed) {
    const bool in_floats = p_.planes.size() > 1 && mixed.output == IntegerOutput::kU8;
    IntegerEpilogue part = mixed;
    if (in_floats) {
      part.output = IntegerOutput::kF32;
      part.c = sums_;
      part.ldc = s_.value_dim;
    }
    for (size_t i = 0; i < p_.planes.size(); ++i) {
      part.scale = p_.planes[i].scale;
      if (i > 0) {
        part.f32.residual = static_cast<const float*>(part.c);
        part.f32.residual_stride = part.ldc;
      }
      lookup_u8(own, map_, plane_, rows * plan_.row, p_.planes[i].table);
      values_.multiply(own, plane_, plan_.row, rows, s_.value_dim, row_offsets_, part);
    }
    if (!in_floats) return;
    for (int64_t i = 0; i < rows; ++i) {
      quantize_u8(own, sums_ + i * s_.value_dim, static_cast<uint8_t*>(mixed.c) + i * mixed.ldc,
                  s_.value_dim, {1.0F, mixed.zero_point, mixed.lo, mixed.hi});
    }
  }

  const AttentionU8Item& item_;
  const AttentionShape& s_;
  const AttentionU8Parameters& p_;
  AttentionU8Plan plan_;
  RightOperandU8 keys_, values_;
  int32_t* row_offsets_;
  float* scores_;
  uint8_t* map_;    // codes
  uint8_t* plane_;  // what one plane has for them
  float* sums_;     // [block, value_dim], of several planes where y are codes
  std::span<std::byte> rest_;
};

}  // namespace

void attention_u8(const Context& context, std::span<const AttentionU8Item> items,
                  const AttentionShape& shape, const AttentionU8Parameters& parameters) {
  const AttentionU8Plan plan(shape);
  const size_t bytes = plan.bytes(shape);
  const AttentionTasks tasks(static_cast<int64_t>(items.size()), shape.tokens, plan.block,
                             context.pool.size());
  tasks.for_each(context.pool, [&](int64_t head, int64_t first, int64_t last, int thread) {
    Head(items[static_cast<size_t>(head)], shape, parameters,
         context.scratch.subspan(static_cast<size_t>(thread) * bytes, bytes))
        .attend(first, last);
  });
}

size_t attention_u8_scratch_bytes(const AttentionShape& shape, int threads) {
  return AttentionU8Plan(shape).bytes(shape) * static_cast<size_t>(threads);
}

}  // namespace ounce::engine
