#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "engine/reference/reference.h"
#include "graph/error.h"

/// What the reference operators share: access to operands, dispatch on the element type, walks over
/// broadcast index spaces.
namespace ounce::engine::reference {

/// Throws `Error(message)`; the node's name is added by `evaluate`.
[[noreturn]] void fail(std::string message);
inline void require(bool condition, const char* message) {
  if (!condition) fail(message);
}

/// Input `i`, which must be there.
const Tensor& input(const OperatorContext& context, size_t i);
/// Whether somebody reads output `i`.
bool wants_output(const OperatorContext& context, size_t i);
/// Output `i` with the dtype and shape that the operator found: allocated when the plan left it
/// open, else checked against the plan. Throws `Error` on a contradiction.
Tensor& output(OperatorContext& context, size_t i, DType dtype, const Shape& shape);
/// Output `i` as shape inference has it, for operators whose shape takes more than a line to find.
Tensor& planned_output(OperatorContext& context, size_t i);
/// As `output`, filled with the bytes of `result`.
void store(OperatorContext& context, size_t i, const Tensor& result);

/// Integers of input `i` (shape arithmetic: any integer dtype); `fallback` when omitted.
std::vector<int64_t> integers(const OperatorContext& context, size_t i,
                              std::vector<int64_t> fallback = {});
/// The single integer of input `i`; `fallback` when omitted.
int64_t integer(const OperatorContext& context, size_t i, int64_t fallback);
/// The single number of input `i` as f32; `fallback` when omitted.
float number(const OperatorContext& context, size_t i, float fallback);

/// a * b, a + b and a - b for sizes; throw `Error` on overflow.
int64_t checked_product(int64_t a, int64_t b);
int64_t checked_sum(int64_t a, int64_t b);
int64_t checked_difference(int64_t a, int64_t b);

/// The type tag that the dispatchers hand over: `[&]<class T>(Type<T>) { ... }`.
template <class T>
struct Type {
  using type = T;
};

/// Calls `f(Type<T>{})` for f32 and f64.
template <class F>
void with_float_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(Type<float>{});
    case DType::f64:
      return f(Type<double>{});
    default:
      fail("floating-point input wanted, got " + std::string(name_of(dtype)));
  }
}

/// Calls `f(Type<T>{})` for every integer type of whole bytes.
template <class F>
void with_integer_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::i64:
      return f(Type<int64_t>{});
    case DType::i32:
      return f(Type<int32_t>{});
    case DType::i16:
      return f(Type<int16_t>{});
    case DType::i8:
      return f(Type<int8_t>{});
    case DType::u64:
      return f(Type<uint64_t>{});
    case DType::u32:
      return f(Type<uint32_t>{});
    case DType::u16:
      return f(Type<uint16_t>{});
    case DType::u8:
      return f(Type<uint8_t>{});
    default:
      fail("no arithmetic on " + std::string(name_of(dtype)));
  }
}

/// Calls `f(Type<T>{})` for every type with arithmetic: floats and integers, not bool.
template <class F>
void with_number_type(DType dtype, F&& f) {
  if (is_float(dtype)) return with_float_type(dtype, f);
  return with_integer_type(dtype, f);
}

/// As `with_number_type`, bool included.
template <class F>
void with_plain_type(DType dtype, F&& f) {
  if (dtype == DType::boolean) return f(Type<bool>{});
  return with_number_type(dtype, f);
}

/// Calls `f(Type<U>{})` with the unsigned integer of the element's width: for operators that only
/// move elements.
template <class F>
void with_bits_type(DType dtype, F&& f) {
  switch (bits_of(dtype)) {
    case 64:
      return f(Type<uint64_t>{});
    case 32:
      return f(Type<uint32_t>{});
    case 16:
      return f(Type<uint16_t>{});
    case 8:
      return f(Type<uint8_t>{});
    default:
      fail("cannot move elements of " + std::string(name_of(dtype)));
  }
}

template <class T>
const T* elements(const Tensor& tensor) {
  return reinterpret_cast<const T*>(tensor.raw());
}
template <class T>
T* mutable_elements(Tensor& tensor) {
  return reinterpret_cast<T*>(tensor.mutable_raw());
}

/// T as it accumulates: double for floats, a wrapping 64-bit integer for integers.
template <class T>
using Accumulator = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

/// `value` as T: floats rounded once, integers truncated and saturated (NaN: 0).
template <class T>
T saturated(double value) {
  if constexpr (std::is_integral_v<T>) {
    using Limits = std::numeric_limits<T>;
    if (std::isnan(value)) return T{0};
    // As a double the upper end may be one too high, hence >=.
    if (value >= static_cast<double>(Limits::max())) return Limits::max();
    if (value <= static_cast<double>(Limits::lowest())) return Limits::lowest();
  }
  return static_cast<T>(value);
}

/// The common shape of multidirectional broadcasting; throws `Error` when there is none.
Shape broadcast_shape(std::span<const int64_t> a, std::span<const int64_t> b);
/// Strides that walk a tensor of shape `from` along the dimensions of `to` (0 where broadcast).
/// Throws `Error` when `from` does not broadcast to `to`.
std::vector<int64_t> broadcast_strides(std::span<const int64_t> from, std::span<const int64_t> to);

/// Steps through all indices of `shape` in row-major order while keeping N strided offsets up to
/// date. `for (Walker w(...); !w.done(); w.next()) use(w.offset(0), ...)`.
template <size_t N>
class Walker {
 public:
  Walker(std::span<const int64_t> shape, std::array<std::vector<int64_t>, N> strides)
      : shape_(shape.begin(), shape.end()), index_(shape.size(), 0), strides_(std::move(strides)) {
    remaining_ = element_count(shape);
  }

  bool done() const { return remaining_ == 0; }
  int64_t offset(size_t n) const { return offsets_[n]; }
  const Shape& index() const { return index_; }

  void next() {
    --remaining_;
    for (size_t axis = shape_.size(); axis-- > 0;) {
      if (++index_[axis] < shape_[axis]) {
        for (size_t n = 0; n < N; ++n) offsets_[n] += strides_[n][axis];
        return;
      }
      for (size_t n = 0; n < N; ++n) offsets_[n] -= strides_[n][axis] * (shape_[axis] - 1);
      index_[axis] = 0;
    }
  }

 private:
  Shape shape_;
  Shape index_;
  std::array<std::vector<int64_t>, N> strides_;
  std::array<int64_t, N> offsets_{};
  int64_t remaining_ = 0;
};

/// Drops dimensions of size 1 and merges neighbours that all strides walk as one, so that walks
/// over equal shapes or scalars become a single loop.
template <size_t N>
void coalesce(Shape& shape, std::array<std::vector<int64_t>, N>& strides) {
  size_t kept = 0;  // dimensions kept so far, written in place
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    const int64_t dim = shape[axis];
    if (dim == 1) continue;
    bool merges = kept > 0;
    for (size_t n = 0; n < N; ++n) {
      merges = merges && strides[n][kept - 1] == strides[n][axis] * dim;
    }
    if (!merges) shape[kept++] = 1;
    shape[kept - 1] *= dim;
    for (size_t n = 0; n < N; ++n) strides[n][kept - 1] = strides[n][axis];
  }
  shape.resize(kept);
  for (size_t n = 0; n < N; ++n) strides[n].resize(kept);
}

/// A row of a walk: `count` elements from running index `first` on, whose offsets in the operands
/// begin at `offsets` and grow by `step`.
template <size_t N>
struct WalkedRow {
  int64_t first, count;
  std::array<int64_t, N> offsets, step;
};

/// Calls `row(f, walked row)` for the rows of `shape`, as N operands with `strides` see it. A plain
/// function, as operators have many an `f` but only this one walk.
template <size_t N>
[[gnu::noinline]] void walk_rows(Shape shape, std::array<std::vector<int64_t>, N> strides,
                                 void (*row)(const void* f, WalkedRow<N>), const void* f) {
  if (element_count(shape) == 0) return;
  coalesce(shape, strides);
  WalkedRow<N> walked = {0, 1, {}, {}};
  if (!shape.empty()) {
    walked.count = shape.back();
    shape.pop_back();
    for (size_t n = 0; n < N; ++n) {
      walked.step[n] = strides[n].back();
      strides[n].pop_back();
    }
  }
  for (Walker<N> walker(shape, strides); !walker.done(); walker.next()) {
    for (size_t n = 0; n < N; ++n) walked.offsets[n] = walker.offset(n);
    row(f, walked);
    walked.first += walked.count;
  }
}

/// Calls `f(index, offsets)` for each element of `shape` in row-major order: its running index and
/// its offset in each of the N operands that `strides` describe.
template <size_t N, class F>
void for_each_strided(const Shape& shape, std::array<std::vector<int64_t>, N> strides, const F& f) {
  const auto row = [](const void* function, WalkedRow<N> walked) {
    const F& call = *static_cast<const F*>(function);
    for (int64_t i = 0; i < walked.count; ++i) {
      call(walked.first + i, walked.offsets);
      for (size_t n = 0; n < N; ++n) walked.offsets[n] += walked.step[n];
    }
  };
  walk_rows<N>(shape, std::move(strides), row, &f);
}

/// The strides of operands whose shapes broadcast to `shape`.
template <size_t N>
[[gnu::noinline]] std::array<std::vector<int64_t>, N> strides_of_all(
    const Shape& shape, const std::array<const Shape*, N>& operands) {
  std::array<std::vector<int64_t>, N> strides;
  for (size_t n = 0; n < N; ++n) strides[n] = broadcast_strides(*operands[n], shape);
  return strides;
}

/// As `for_each_strided` over operands whose shapes broadcast to `shape`.
template <size_t N, class F>
void for_each_broadcast(const Shape& shape, const std::array<const Shape*, N>& operands,
                        const F& f) {
  for_each_strided<N>(shape, strides_of_all<N>(shape, operands), f);
}

/// y[i] = x[base + strides . index(i)] for the elements of y, walked as `shape`; any element type
/// of whole bytes.
void copy_strided(const Tensor& x, Tensor& y, const Shape& shape,
                  const std::vector<int64_t>& strides, int64_t base = 0);

/// A shape seen from one axis: [outer, axis, inner].
struct AxisView {
  int64_t outer = 1;
  int64_t axis = 1;
  int64_t inner = 1;
};
AxisView view_along(std::span<const int64_t> shape, int64_t axis);

/// `values` normalised into [0, rank), checked for duplicates.
std::vector<int64_t> normalized_axes(std::vector<int64_t> axes, int64_t rank);

/// Runs `context` with f16/bf16 operands widened to f32 and packed codes to whole bytes, then
/// narrows the results.
void run_widened(OperatorContext& context, OperatorFunction function, bool widen_halves);

/// For operators with arithmetic: halves are computed in f32, packed integers in 8 bits.
template <OperatorFunction kFunction>
void widened(OperatorContext& context) {
  run_widened(context, kFunction, true);
}

/// For operators that only move elements: packed integers travel as bytes.
template <OperatorFunction kFunction>
void unpacked(OperatorContext& context) {
  run_widened(context, kFunction, false);
}

/// Tensors of the inferred dtype and shape for each output of `node` that is read; undefined where
/// inference leaves something open.
std::vector<Tensor> infer_outputs(const Node& node, std::span<const Tensor> inputs);

/// One row of the operator table.
struct OperatorEntry {
  std::string_view name;
  OperatorFunction function;
};

}  // namespace ounce::engine::reference
