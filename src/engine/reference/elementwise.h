#pragma once

#include "engine/reference/common.h"

/// Element-wise operators, given the function of one element.
namespace ounce::engine::reference {

/// y = function(x), a float function computed in double and rounded once.
template <class Function>
void map_floats(OperatorContext& context, Function function) {
  const Tensor& x = input(context, 0);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (int64_t i = 0; i < x.size(); ++i) {
      to[i] = static_cast<T>(function(static_cast<double>(from[i])));
    }
  });
}

/// As `map_floats` on every number type, in the type itself: `function(T) -> T`.
template <class Function>
void map_numbers(OperatorContext& context, Function function) {
  const Tensor& x = input(context, 0);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_number_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (int64_t i = 0; i < x.size(); ++i) to[i] = static_cast<T>(function(from[i]));
  });
}

/// y = function(a, b) with broadcasting; Y is the result's element type.
template <class T, class Y, class Function>
void zip(const Tensor& a, const Tensor& b, Tensor& y, Function function) {
  const T* left = elements<T>(a);
  const T* right = elements<T>(b);
  Y* to = mutable_elements<Y>(y);
  for_each_broadcast<2>(y.shape(), {&a.shape(), &b.shape()},
                        [&](int64_t i, const std::array<int64_t, 2>& from) {
                          to[i] = static_cast<Y>(function(left[from[0]], right[from[1]]));
                        });
}

// Integer arithmetic wraps; it is done in u64, where wrapping is defined.
template <class T>
T wrapping(uint64_t value) {
  return static_cast<T>(value);
}

struct AddOf {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      return a + b;
    else
      return wrapping<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
};

struct SubOf {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      return a - b;
    else
      return wrapping<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
  }
};

struct MulOf {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      return a * b;
    else
      return wrapping<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};

/// Both operands of a binary operator, checked to be of one dtype.
inline void require_same_dtype(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype()) {
    fail("operands are " + std::string(name_of(a.dtype())) + " and " +
         std::string(name_of(b.dtype())) + ", one dtype wanted");
  }
}

}  // namespace ounce::engine::reference
