#pragma once

#include <optional>

#include "engine/kernels/int8/gemm_u8s8.h"
#include "engine/kernels/int8/quantize_dynamic.h"

namespace ounce::engine {

/// The sizes of one head of softmax attention: q [tokens, head_dim], k [keys, head_dim], v [keys,
/// value_dim], y [tokens, value_dim], all with contiguous rows `ld..` elements apart.
struct AttentionShape {
  int64_t tokens = 0, keys = 0, head_dim = 0, value_dim = 0;
  int64_t ldq = 0, ldk = 0, ldv = 0, ldy = 0;
};

/// One head of one picture.
struct AttentionF32Item {
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  float* y = nullptr;
  const float* mask = nullptr;  // [tokens, keys], or null
};

/// y = softmax(scale * q k' + mask) v for every item. A row of a mask that is -infinity everywhere
/// makes a row of zeros. Scores exist a block of tokens at a time.
void attention_f32(const Context& context, std::span<const AttentionF32Item> items,
                   const AttentionShape& shape, float scale);
size_t attention_f32_scratch_bytes(const AttentionShape& shape, int threads);

/// One head on codes.
struct AttentionU8Item {
  const uint8_t* q = nullptr;
  const uint8_t* k = nullptr;
  const uint8_t* v = nullptr;
  void* y = nullptr;  // of the epilogue's output type
};

/// Logarithmic codes of a map instead of those of a grid.
struct LogMapCodes {
  LogBase base = LogBase::k2;
  int bits = 4;
};

/// One of the products that a map is multiplied as: that of table[code] with v.
struct MapPlane {
  const uint8_t* table = nullptr;  // [256]
  const float* scale = nullptr;    // of its sums, as IntegerEpilogue has it
};

/// y = epilogue(map v) with map = quantize(softmax(scale * q k')), all exactly as matmul_u8,
/// softmax_f32, quantize_u8 or quantize_log, and matmul_u8 compute it one after the other. With
/// planes, the scaled sums of each are added to those before it, as floats, and the last sum is
/// rounded where y are codes.
struct AttentionU8Parameters {
  int32_t q_zero_point = 0, k_zero_point = 0, v_zero_point = 0;
  const float* score_scale = nullptr;  // [keys rounded up to 16], all the same
  float map_scale = 1.0F;
  int32_t map_zero_point = 0;
  // kF32 or kU8; c is ignored, residuals must be null, ldc is that of y; with planes, the scale is
  // ignored, and there is no table.
  IntegerEpilogue epilogue{};
  std::optional<LogMapCodes> log_codes{};  // then map_scale is ignored
  std::span<const MapPlane> planes{};      // none: the codes themselves are multiplied
};
void attention_u8(const Context& context, std::span<const AttentionU8Item> items,
                  const AttentionShape& shape, const AttentionU8Parameters& parameters);
size_t attention_u8_scratch_bytes(const AttentionShape& shape, int threads);

}  // namespace ounce::engine
