#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/dtype.h"
#include "graph/error.h"

namespace ounce {

/// A concrete shape; every dimension >= 0; an empty vector is a scalar.
using Shape = std::vector<int64_t>;

/// More dimensions than any network has. A file can name dimensions by the million, and every
/// tensor computed from there would carry them.
inline constexpr size_t kMaxRank = 32;

/// The `Error` that says so.
Error rank_error();

/// Product of the dimensions (1 for a scalar). Throws `Error` on a negative dimension, overflow or
/// more than `kMaxRank` dimensions.
int64_t element_count(std::span<const int64_t> shape);

/// Row-major strides in elements.
std::vector<int64_t> row_major_strides(std::span<const int64_t> shape);

/// "[1, 3, 224, 224]"
std::string to_string(std::span<const int64_t> shape);

/// ONNX axis convention: maps a possibly negative axis into [0, rank). Throws `Error` when out of
/// range.
int64_t normalize_axis(int64_t axis, int64_t rank);

/// A dense row-major tensor. Copies share storage; writing through `mutable_data` first makes the
/// storage unique (copy-on-write). Storage may also be borrowed, e.g. from a mapped file, kept
/// alive by an owner handle. Owned storage is 64-byte aligned.
class Tensor {
 public:
  Tensor() = default;

  /// A zero-filled tensor.
  Tensor(DType dtype, Shape shape);

  /// Copies `values`, whose size must be the shape's element count.
  template <class T>
  static Tensor of(std::span<const T> values, Shape shape);
  template <class T>
  static Tensor of(const std::vector<T>& values, Shape shape) {
    return of(std::span<const T>(values), std::move(shape));
  }
  template <class T>
  static Tensor scalar(T value) {
    return of(std::span<const T>(&value, 1), {});
  }
  static Tensor of_i64(std::vector<int64_t> values) {
    const auto count = static_cast<int64_t>(values.size());
    return of(std::span<const int64_t>(values), {count});
  }

  /// Borrows `bytes`, which `owner` keeps alive and which are never written.
  static Tensor borrow(DType dtype, Shape shape, std::span<const std::byte> bytes,
                       std::shared_ptr<const void> owner);

  /// A writable window on memory that the caller owns and outlives (an arena slot, a caller's
  /// buffer). Copies of a window alias the same memory: windows are for passing, not for keeping.
  static Tensor window(DType dtype, Shape shape, std::byte* memory);

  bool defined() const { return dtype_ != DType::undefined; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t size() const { return size_; }
  size_t bytes() const { return byte_size(dtype_, size_); }

  const std::byte* raw() const { return data_; }
  std::byte* mutable_raw();

  /// Typed view; throws `Error` when T is not the element type. Packed types: use `raw`.
  template <class T>
  std::span<const T> data() const {
    check_dtype(dtype_of<T>());
    return {reinterpret_cast<const T*>(data_), static_cast<size_t>(size_)};
  }
  template <class T>
  std::span<T> mutable_data() {
    check_dtype(dtype_of<T>());
    return {reinterpret_cast<T*>(mutable_raw()), static_cast<size_t>(size_)};
  }

  /// The same elements under another shape of equal count (storage shared).
  Tensor reshaped(Shape shape) const;

  /// Elements as i64 (any integer dtype, bool, packed) or f32 (any dtype); copies.
  std::vector<int64_t> to_i64() const;
  std::vector<float> to_f32() const;

  /// Same dtype, shape and bytes.
  bool identical_to(const Tensor& other) const;

 private:
  void check_dtype(DType wanted) const;

  DType dtype_ = DType::undefined;
  Shape shape_;
  int64_t size_ = 0;
  const std::byte* data_ = nullptr;
  std::shared_ptr<const void> owner_;
  bool writable_ = false;
};

/// The tensor with every element converted to `dtype`: floats to integers truncate towards zero and
/// saturate (NaN -> 0); integers to narrower integers wrap, as C++ casts and ONNX do.
Tensor cast(const Tensor& tensor, DType dtype);

template <class T>
Tensor Tensor::of(std::span<const T> values, Shape shape) {
  Tensor tensor(dtype_of<T>(), std::move(shape));
  std::span<T> target = tensor.mutable_data<T>();
  if (target.size() != values.size()) {
    // Out of line error path: reuse reshaped()'s message.
    return tensor.reshaped({static_cast<int64_t>(values.size())});
  }
  for (size_t i = 0; i < values.size(); ++i) target[i] = values[i];
  return tensor;
}

}  // namespace ounce
