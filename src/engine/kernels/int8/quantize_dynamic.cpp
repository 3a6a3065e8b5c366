#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include "engine/kernels/int8/quantize_dynamic.h"

#include <algorithm>
#include <array>

#include "engine/kernels/dispatch.h"
#include "engine/kernels/int8/dynamic_grid.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/int8/quantize_dynamic.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/vector/round_codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

Extent extent_of(const float* x, int64_t count) {
  VF lo = hn::Zero(DF());
  VF hi = hn::Zero(DF());
  for_vectors(count, [&](int64_t j, int64_t lanes) HWY_ATTR {
    const VF v = load_lanes(x + j, lanes);
    // Comparisons, so that NaN changes nothing on any instruction set.
    lo = hn::IfThenElse(hn::Lt(v, lo), v, lo);
    hi = hn::IfThenElse(hn::Gt(v, hi), v, hi);
  });
  return {hn::GetLane(hn::MinOfLanes(DF(), lo)), hn::GetLane(hn::MaxOfLanes(DF(), hi))};
}

// Returns the sum of code - zero point.
int32_t codes_of(const float* x, int64_t count, const Grid& grid, uint8_t* codes) {
  if (!(grid.scale > 0.0F)) {
    std::fill(codes, codes + count, static_cast<uint8_t>(grid.zero_point));
    return 0;
  }
  const VF divisor = hn::Set(DF(), grid.scale);
  const Rounder round(grid.zero_point, grid.lo, grid.hi);
  VI sum = hn::Zero(DI());
  for_vectors(count, [&](int64_t j, int64_t lanes) HWY_ATTR {
    const VI code = round(hn::Div(load_lanes(x + j, lanes), divisor));
    sum = hn::Add(sum, hn::Sub(code, round.zero));
    store_codes_part(code, codes + j, lanes);
  });
  return hn::GetLane(hn::SumOfLanes(DI(), sum));
}

// Codes of 2^-k or 2^(-k / 2) from the exponent and a comparison of the mantissa with the borders
// between two codes, 2^(1/2) or 2^(1/4) and 2^(3/4): the least f32 above them, as no f32 is equal.
void log_codes(const float* x, int64_t count, LogBase base, int bits, uint8_t* codes) {
  const VI highest = hn::Set(DI(), (1 << bits) - 1);
  const VI mantissa_mask = hn::Set(DI(), 0x7FFFFF);
  const auto above = [&](VI mantissa, int32_t border) HWY_ATTR {
    return hn::VecFromMask(DI(), hn::Gt(mantissa, hn::Set(DI(), border - 1)));  // -1 or 0
  };
  for_vectors(count, [&](int64_t j, int64_t lanes) HWY_ATTR {
    const VF v = load_lanes(x + j, lanes);
    const VI word = hn::BitCast(DI(), v);
    // Of negative numbers less than 0, which makes the highest code.
    const VI exponent = hn::Sub(hn::ShiftRight<23>(word), hn::Set(DI(), 127));
    const VI mantissa = hn::And(word, mantissa_mask);
    VI k = hn::Neg(exponent);
    if (base == LogBase::k2) {
      k = hn::Add(k, above(mantissa, 0x3504F4));
    } else {
      k = hn::Add(hn::Add(k, k), hn::Add(above(mantissa, 0x1837F1), above(mantissa, 0x5744FD)));
    }
    k = hn::Min(hn::Max(k, hn::Zero(DI())), highest);
    const VI number = hn::VecFromMask(DI(), hn::RebindMask(DI(), hn::Eq(v, v)));
    store_codes_part(hn::And(k, number), codes + j, lanes);
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
namespace {

OUNCE_EXPORT(extent_of);
OUNCE_EXPORT(codes_of);
OUNCE_EXPORT(log_codes);

// Elements for a thread to take at a time.
constexpr int64_t kChunk = 16384;

// Calls part(first row, end, index) for `parts` pieces of the rows, in parallel.
template <class Part>
void for_row_parts(ThreadPool& pool, int64_t rows, int64_t parts, const Part& part) {
  pool.parallel_for(parts,
                    [&](int64_t i, int) { part(rows * i / parts, rows * (i + 1) / parts, i); });
}

int64_t parts_of(int64_t rows, int64_t columns) {
  const int64_t part_rows = std::max<int64_t>(kChunk / std::max<int64_t>(columns, 1), 1);
  return ceil_div(rows, part_rows);
}

}  // namespace

void quantize_rows(const Context& context, const float* x, int64_t ldx, int64_t rows,
                   int64_t columns, DynamicGrid kind, int bits, const DynamicCodes& out) {
  for_row_parts(context.pool, rows, parts_of(rows, columns),
                [&](int64_t first, int64_t end, int64_t) {
                  for (int64_t i = first; i < end; ++i) {
                    const float* row = x + i * ldx;
                    const Grid grid = grid_of(OUNCE_DISPATCH(extent_of)(row, columns), kind, bits);
                    const int32_t sum =
                        OUNCE_DISPATCH(codes_of)(row, columns, grid, out.codes + i * out.stride);
                    out.scales[i] = grid.scale;
                    if (out.zero_points != nullptr) out.zero_points[i] = grid.zero_point;
                    if (out.row_sums != nullptr) out.row_sums[i] = sum;
                  }
                });
}

void quantize_tensor(const Context& context, const float* x, int64_t ldx, int64_t rows,
                     int64_t columns, DynamicGrid kind, int bits, const DynamicCodes& out) {
  std::array<Extent, 64> extents;
  const auto most = static_cast<int64_t>(extents.size());
  for_row_parts(context.pool, rows, std::min(parts_of(rows, columns), most),
                [&](int64_t first, int64_t end, int64_t part) {
                  Extent& all = extents[static_cast<size_t>(part)];
                  for (int64_t i = first; i < end; ++i) {
                    const Extent row = OUNCE_DISPATCH(extent_of)(x + i * ldx, columns);
                    all = {std::min(all.lo, row.lo), std::max(all.hi, row.hi)};
                  }
                });
  Extent all;
  for (const Extent& part : extents) {
    all = {std::min(all.lo, part.lo), std::max(all.hi, part.hi)};
  }
  const Grid grid = grid_of(all, kind, bits);
  *out.scales = grid.scale;
  if (out.zero_points != nullptr) *out.zero_points = grid.zero_point;
  for_row_parts(
      context.pool, rows, parts_of(rows, columns), [&](int64_t first, int64_t end, int64_t) {
        for (int64_t i = first; i < end; ++i) {
          const int32_t sum =
              OUNCE_DISPATCH(codes_of)(x + i * ldx, columns, grid, out.codes + i * out.stride);
          if (out.row_sums != nullptr) out.row_sums[i] = sum;
        }
      });
}

void quantize_log(const Context& context, const float* x, uint8_t* codes, int64_t count,
                  LogBase base, int bits) {
  context.pool.parallel_for(ceil_div(count, kChunk), [&](int64_t chunk, int) {
    const int64_t first = chunk * kChunk;
    OUNCE_DISPATCH(log_codes)
    (x + first, std::min(kChunk, count - first), base, bits, codes + first);
  });
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
