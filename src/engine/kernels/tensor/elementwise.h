#pragma once

#include "engine/kernels/common.h"

namespace ounce::engine {

/// y = activation(x); x and y may be the same. Relative error of exp, tanh, sigmoid, erf, silu and
/// gelu below about 1e-6 (absolute near zeros of the function).
void activate_f32(const Context& context, const float* x, float* y, int64_t count,
                  const ActivationSpec& activation);

enum class UnaryF32 {
  kAbs,
  kNeg,
  kExp,
  kLog,
  kSqrt,
  kReciprocal,
  kErf,
  kFloor,
  kCeil,
  kRound,
  kSin,
  kCos,
};
void unary_f32(const Context& context, UnaryF32 op, const float* x, float* y, int64_t count);

enum class BinaryF32 {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMin,
  kMax,
  kPow,
  kPRelu,  // a < 0 ? a * b : a
};
enum class Broadcast {
  kNone,    // b: [rows, columns]
  kRow,     // b: [columns], the same for every row
  kColumn,  // b: [rows], one value a row
  kScalar,  // b: one value
};
/// y = a op b, a and y [rows, columns] contiguous; y may be a or (kNone) b.
void binary_f32(const Context& context, BinaryF32 op, const float* a, const float* b, float* y,
                int64_t rows, int64_t columns, Broadcast broadcast);
/// y = b op a, where order matters (kSub, kDiv, kPow) and b is the broadcast operand.
void binary_reversed_f32(const Context& context, BinaryF32 op, const float* a, const float* b,
                         float* y, int64_t rows, int64_t columns, Broadcast broadcast);

/// Transposes the last two dimensions: in [batch, rows, columns] -> out [batch, columns, rows].
void transpose_f32(const Context& context, const float* in, float* out, int64_t batch, int64_t rows,
                   int64_t columns);
void transpose_u8(const Context& context, const uint8_t* in, uint8_t* out, int64_t batch,
                  int64_t rows, int64_t columns);

}  // namespace ounce::engine
