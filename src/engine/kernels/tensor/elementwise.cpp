#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include "engine/kernels/tensor/elementwise.h"

#include <algorithm>
#include <cmath>

#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/tensor/elementwise.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/f32/epilogue_f32-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

inline constexpr int64_t kChunk = 8192;

// y = function(x) in parallel chunks.
template <class Function>
void map(ThreadPool& pool, const float* x, float* y, int64_t count, const Function& function) {
  pool.parallel_for(ceil_div(count, kChunk), [&](int64_t chunk, int) HWY_ATTR {
    const int64_t first = chunk * kChunk;
    for_vectors(std::min(kChunk, count - first), [&](int64_t j, int64_t lanes) HWY_ATTR {
      store_lanes(function(load_lanes(x + first + j, lanes)), y + first + j, lanes);
    });
  });
}

// A function of the C library, lane by lane.
template <class Function>
HWY_INLINE VF per_lane(VF x, const Function& function) {
  alignas(64) float lanes[kLanes];
  hn::Store(x, DF(), lanes);
  for (float& lane : lanes) lane = function(lane);
  return hn::Load(DF(), lanes);
}

void activate_f32(const Context& context, const float* x, float* y, int64_t count,
                  const ActivationSpec& activation) {
  with_activation(activation,
                  [&](auto function) HWY_ATTR { map(context.pool, x, y, count, function); });
}

void unary_f32(const Context& context, UnaryF32 op, const float* x, float* y, int64_t count) {
  const auto run = [&](auto function) HWY_ATTR { map(context.pool, x, y, count, function); };
  const VF one = constant(1.0F);
  switch (op) {
    case UnaryF32::kAbs:
      return run([](VF v) HWY_ATTR { return hn::Abs(v); });
    case UnaryF32::kNeg:
      return run([](VF v) HWY_ATTR { return hn::Neg(v); });
    case UnaryF32::kExp:
      return run([](VF v) HWY_ATTR { return exp_f32(v); });
    case UnaryF32::kLog:
      return run([](VF v) HWY_ATTR { return log_f32(v); });
    case UnaryF32::kSqrt:
      return run([](VF v) HWY_ATTR { return hn::Sqrt(v); });
    case UnaryF32::kReciprocal:
      return run([=](VF v) HWY_ATTR { return hn::Div(one, v); });
    case UnaryF32::kErf:
      return run([](VF v) HWY_ATTR { return erf_f32(v); });
    case UnaryF32::kFloor:
      return run([](VF v) HWY_ATTR { return hn::Floor(v); });
    case UnaryF32::kCeil:
      return run([](VF v) HWY_ATTR { return hn::Ceil(v); });
    case UnaryF32::kRound:
      return run([](VF v)
                     HWY_ATTR { return per_lane(v, [](float f) { return std::nearbyint(f); }); });
    case UnaryF32::kSin:
      return run([](VF v) HWY_ATTR { return per_lane(v, [](float f) { return std::sin(f); }); });
    case UnaryF32::kCos:
      return run([](VF v) HWY_ATTR { return per_lane(v, [](float f) { return std::cos(f); }); });
  }
}

HWY_INLINE VF power(VF a, VF b) {
  alignas(64) float x[kLanes];
  alignas(64) float y[kLanes];
  hn::Store(a, DF(), x);
  hn::Store(b, DF(), y);
  for (int i = 0; i < kLanes; ++i) x[i] = std::pow(x[i], y[i]);
  return hn::Load(DF(), x);
}

// Calls f(function of two vectors) for an operation. Minima and maxima keep NaN.
template <class F>
void with_binary(BinaryF32 op, const F& f) {
  switch (op) {
    case BinaryF32::kAdd:
      return f([](VF a, VF b) HWY_ATTR { return hn::Add(a, b); });
    case BinaryF32::kSub:
      return f([](VF a, VF b) HWY_ATTR { return hn::Sub(a, b); });
    case BinaryF32::kMul:
      return f([](VF a, VF b) HWY_ATTR { return hn::Mul(a, b); });
    case BinaryF32::kDiv:
      return f([](VF a, VF b) HWY_ATTR { return hn::Div(a, b); });
    case BinaryF32::kMin:
      return f([](VF a, VF b) HWY_ATTR { return keep_nan(b, at_most(a, b)); });
    case BinaryF32::kMax:
      return f([](VF a, VF b) HWY_ATTR { return keep_nan(b, at_least(a, b)); });
    case BinaryF32::kPow:
      return f([](VF a, VF b) HWY_ATTR { return power(a, b); });
    case BinaryF32::kPRelu:
      return f([](VF a, VF b) HWY_ATTR {
        return hn::IfThenElse(hn::Lt(a, hn::Zero(DF())), hn::Mul(a, b), a);
      });
  }
}

struct BinaryJob {
  const float* a;
  const float* b;
  float* y;
  int64_t rows, columns;
  Broadcast broadcast;
};

// y = function(a, b) over parallel pieces of rows.
template <class Function>
void zip(ThreadPool& pool, const BinaryJob& job, const Function& function) {
  const int64_t pieces = ceil_div(job.columns, kChunk);
  const int64_t rows_per_task = std::max<int64_t>(kChunk / std::max<int64_t>(job.columns, 1), 1);
  const int64_t row_tasks = ceil_div(job.rows, rows_per_task);
  pool.parallel_for(row_tasks * pieces, [&](int64_t task, int) HWY_ATTR {
    const int64_t first_row = task / pieces * rows_per_task;
    const int64_t last_row = std::min(first_row + rows_per_task, job.rows);
    const int64_t column = task % pieces * kChunk;
    const int64_t columns = std::min(kChunk, job.columns - column);
    for (int64_t r = first_row; r < last_row; ++r) {
      const float* a = job.a + r * job.columns + column;
      float* y = job.y + r * job.columns + column;
      if (job.broadcast == Broadcast::kColumn || job.broadcast == Broadcast::kScalar) {
        const VF b = constant(job.b[job.broadcast == Broadcast::kColumn ? r : 0]);
        for_vectors(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
          store_lanes(function(load_lanes(a + j, lanes), b), y + j, lanes);
        });
      } else {
        const float* b = job.b + column + (job.broadcast == Broadcast::kNone ? r * job.columns : 0);
        for_vectors(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
          store_lanes(function(load_lanes(a + j, lanes), load_lanes(b + j, lanes)), y + j, lanes);
        });
      }
    }
  });
}

void binary_f32(const Context& context, BinaryF32 op, const float* a, const float* b, float* y,
                int64_t rows, int64_t columns, Broadcast broadcast) {
  BinaryJob job = {a, b, y, rows, columns, broadcast};
  if (broadcast == Broadcast::kNone || broadcast == Broadcast::kScalar) {
    job.columns = rows * columns;
    job.rows = 1;
  }
  with_binary(op, [&](auto function) HWY_ATTR { zip(context.pool, job, function); });
}

void binary_reversed_f32(const Context& context, BinaryF32 op, const float* a, const float* b,
                         float* y, int64_t rows, int64_t columns, Broadcast broadcast) {
  const BinaryJob job = {a, b, y, rows, columns, broadcast};
  with_binary(op, [&](auto function) HWY_ATTR {
    zip(context.pool, job, [&](VF left, VF right) HWY_ATTR { return function(right, left); });
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(activate_f32);
OUNCE_EXPORT(unary_f32);
OUNCE_EXPORT(binary_f32);
OUNCE_EXPORT(binary_reversed_f32);

void activate_f32(const Context& context, const float* x, float* y, int64_t count,
                  const ActivationSpec& activation) {
  OUNCE_DISPATCH(activate_f32)(context, x, y, count, activation);
}
void unary_f32(const Context& context, UnaryF32 op, const float* x, float* y, int64_t count) {
  OUNCE_DISPATCH(unary_f32)(context, op, x, y, count);
}
void binary_f32(const Context& context, BinaryF32 op, const float* a, const float* b, float* y,
                int64_t rows, int64_t columns, Broadcast broadcast) {
  OUNCE_DISPATCH(binary_f32)(context, op, a, b, y, rows, columns, broadcast);
}
void binary_reversed_f32(const Context& context, BinaryF32 op, const float* a, const float* b,
                         float* y, int64_t rows, int64_t columns, Broadcast broadcast) {
  OUNCE_DISPATCH(binary_reversed_f32)(context, op, a, b, y, rows, columns, broadcast);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
