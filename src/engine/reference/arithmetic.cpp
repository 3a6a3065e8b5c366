#include <algorithm>
#include <limits>

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

struct DivOf {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      return a / b;
    } else {
      if (b == T{0}) throw Error("integer division by zero");
      if constexpr (std::is_signed_v<T>) {
        if (b == T{-1}) return SubOf{}(T{0}, a);  // the lowest value over -1 would trap
      }
      return static_cast<T>(a / b);
    }
  }
};

/// fmod: the sign of the dividend, as C has it.
struct FmodOf {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(a, b);
    } else {
      if (b == T{0}) throw Error("integer modulus by zero");
      if constexpr (std::is_signed_v<T>) {
        if (b == T{-1}) return T{0};
      }
      return static_cast<T>(a % b);
    }
  }
};

/// The sign of the divisor, as Python has it.
struct ModOf {
  template <class T>
  T operator()(T a, T b) const {
    const T remainder = FmodOf{}(a, b);
    const bool opposite = remainder != T{0} && ((remainder < T{0}) != (b < T{0}));
    return opposite ? static_cast<T>(remainder + b) : remainder;
  }
};

template <class Function>
void binary(OperatorContext& context) {
  const Tensor& a = input(context, 0);
  const Tensor& b = input(context, 1);
  require_same_dtype(a, b);
  Tensor& y = output(context, 0, a.dtype(), broadcast_shape(a.shape(), b.shape()));
  with_number_type(a.dtype(), [&]<class T>(Type<T>) { zip<T, T>(a, b, y, Function{}); });
}

void mod(OperatorContext& context) {
  const bool is_fmod = context.attributes().get_int("fmod", 0) != 0;
  is_fmod ? binary<FmodOf>(context) : binary<ModOf>(context);
}

/// Base to an integer power by squaring, wrapping; negative exponents truncate towards zero.
template <class T>
T integer_power(T base, int64_t exponent) {
  if (exponent < 0) {
    require(base != T{0}, "zero to a negative integer power");
    if (base == T{1}) return T{1};
    if constexpr (std::is_signed_v<T>) {
      if (base == T{-1}) return exponent % 2 == 0 ? T{1} : T{-1};
    }
    return T{0};
  }
  uint64_t result = 1;
  uint64_t square = static_cast<uint64_t>(base);
  for (; exponent > 0; exponent >>= 1, square *= square) {
    if ((exponent & 1) != 0) result *= square;
  }
  return static_cast<T>(result);
}

template <class T>
T power(T base, int64_t exponent) {
  return integer_power(base, exponent);
}
template <class T>
T power(T base, double exponent) {
  return saturated<T>(std::pow(static_cast<double>(base), exponent));
}

/// Exponents as E, which holds all of their values that matter (u64 as i64, wrapping).
template <class E>
std::vector<E> exponents_as(const Tensor& exponent) {
  std::vector<E> values;
  with_number_type(exponent.dtype(), [&]<class U>(Type<U>) {
    const auto all = std::span(elements<U>(exponent), static_cast<size_t>(exponent.size()));
    for (const U value : all) values.push_back(static_cast<E>(value));
  });
  return values;
}

template <class T, class E>
void powers(const Tensor& base, const Tensor& exponent, Tensor& y) {
  const T* bases = elements<T>(base);
  const std::vector<E> exponents = exponents_as<E>(exponent);
  T* to = mutable_elements<T>(y);
  for_each_broadcast<2>(y.shape(), {&base.shape(), &exponent.shape()},
                        [&](int64_t i, const std::array<int64_t, 2>& from) {
                          to[i] = power(bases[from[0]], exponents[static_cast<size_t>(from[1])]);
                        });
}

/// The exponent may have another dtype; the result has the base's.
void pow_operator(OperatorContext& context) {
  const Tensor& base = input(context, 0);
  const Tensor& exponent = input(context, 1);
  Tensor& y = output(context, 0, base.dtype(), broadcast_shape(base.shape(), exponent.shape()));
  with_number_type(base.dtype(), [&]<class T>(Type<T>) {
    if constexpr (std::is_integral_v<T>) {
      if (!is_float(exponent.dtype())) return powers<T, int64_t>(base, exponent, y);
    }
    powers<T, double>(base, exponent, y);
  });
}

struct MinOf {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
    }
    return b < a ? b : a;
  }
};

struct MaxOf {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
    }
    return a < b ? b : a;
  }
};

/// Folds any number of operands from the left, broadcasting.
template <class Function>
Tensor fold(const OperatorContext& context) {
  Tensor result = input(context, 0);
  for (size_t n = 1; n < context.inputs.size(); ++n) {
    const Tensor& next = input(context, n);
    require_same_dtype(result, next);
    Tensor sum(result.dtype(), broadcast_shape(result.shape(), next.shape()));
    with_number_type(result.dtype(),
                     [&]<class T>(Type<T>) { zip<T, T>(result, next, sum, Function{}); });
    result = sum;
  }
  return result;
}

template <class Function>
void variadic(OperatorContext& context) {
  store(context, 0, fold<Function>(context));
}

void mean(OperatorContext& context) {
  Tensor sum = fold<AddOf>(context);
  with_float_type(sum.dtype(), [&]<class T>(Type<T>) {
    for (T& value : sum.mutable_data<T>()) value /= static_cast<T>(context.inputs.size());
  });
  store(context, 0, sum);
}

void clip(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_number_type(x.dtype(), [&]<class T>(Type<T>) {
    const auto bound = [&](size_t i, T fallback) {
      if (!context.has_input(i)) return fallback;
      require_same_dtype(x, context.inputs[i]);
      require(context.inputs[i].size() == 1, "a bound must be a single number");
      return elements<T>(context.inputs[i])[0];
    };
    using Limits = std::numeric_limits<T>;
    const T low = bound(1, Limits::has_infinity ? -Limits::infinity() : Limits::lowest());
    const T high = bound(2, Limits::has_infinity ? Limits::infinity() : Limits::max());
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    // Comparisons in this order let NaN through and let `high` win when the bounds cross.
    for (int64_t i = 0; i < x.size(); ++i) {
      const T raised = from[i] < low ? low : from[i];
      to[i] = high < raised ? high : raised;
    }
  });
}

void abs_operator(OperatorContext& context) {
  map_numbers(context, [](auto x) {
    using T = decltype(x);
    if constexpr (std::is_floating_point_v<T>)
      return std::abs(x);
    else
      return x < T{0} ? SubOf{}(T{0}, x) : x;
  });
}

void neg(OperatorContext& context) {
  map_numbers(context, [](auto x) {
    using T = decltype(x);
    if constexpr (std::is_floating_point_v<T>)
      return -x;
    else
      return SubOf{}(T{0}, x);
  });
}

void sign(OperatorContext& context) {
  map_numbers(context, [](auto x) {
    using T = decltype(x);
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(x)) return x;
    }
    return static_cast<T>((T{0} < x ? 1 : 0) - (x < T{0} ? 1 : 0));
  });
}

template <double (*kFunction)(double)>
void unary(OperatorContext& context) {
  map_floats(context, kFunction);
}

double reciprocal_of(double x) {
  return 1.0 / x;
}

constexpr OperatorEntry kEntries[] = {
    {"Abs", widened<abs_operator>},
    {"Acos", widened<unary<std::acos>>},
    {"Acosh", widened<unary<std::acosh>>},
    {"Add", widened<binary<AddOf>>},
    {"Asin", widened<unary<std::asin>>},
    {"Asinh", widened<unary<std::asinh>>},
    {"Atan", widened<unary<std::atan>>},
    {"Atanh", widened<unary<std::atanh>>},
    {"Ceil", widened<unary<std::ceil>>},
    {"Clip", widened<clip>},
    {"Cos", widened<unary<std::cos>>},
    {"Cosh", widened<unary<std::cosh>>},
    {"Div", widened<binary<DivOf>>},
    {"Erf", widened<unary<std::erf>>},
    {"Exp", widened<unary<std::exp>>},
    {"Floor", widened<unary<std::floor>>},
    {"Log", widened<unary<std::log>>},
    {"Max", widened<variadic<MaxOf>>},
    {"Mean", widened<mean>},
    {"Min", widened<variadic<MinOf>>},
    {"Mod", widened<mod>},
    {"Mul", widened<binary<MulOf>>},
    {"Neg", widened<neg>},
    {"Pow", widened<pow_operator>},
    {"Reciprocal", widened<unary<reciprocal_of>>},
    {"Round", widened<unary<std::nearbyint>>},  // the default mode rounds half to even
    {"Sign", widened<sign>},
    {"Sin", widened<unary<std::sin>>},
    {"Sinh", widened<unary<std::sinh>>},
    {"Sqrt", widened<unary<std::sqrt>>},
    {"Sub", widened<binary<SubOf>>},
    {"Sum", widened<variadic<AddOf>>},
    {"Tan", widened<unary<std::tan>>},
};

}  // namespace

std::span<const OperatorEntry> arithmetic_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
