#include <algorithm>
#include <limits>

#include "engine/reference/common.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

/// Which axes a reduction runs over and what comes out.
struct Reduction {
  Shape kept;                    // the input's shape with reduced axes set to 1
  Shape shape;                   // of the output
  std::vector<int64_t> strides;  // walk the output along the input's dimensions
  int64_t count = 1;             // input elements an output element

  Reduction(const OperatorContext& context, const Shape& in) {
    std::vector<int64_t> axes = integers(context, 1);
    const bool nothing = axes.empty() && context.attributes().get_int("noop_with_empty_axes", 0);
    axes = normalized_axes(std::move(axes), static_cast<int64_t>(in.size()));
    const bool keep = context.attributes().get_int("keepdims", 1) != 0;
    kept = in;
    std::vector<bool> reduced(in.size(), axes.empty() && !nothing);
    for (const int64_t axis : axes) reduced[static_cast<size_t>(axis)] = true;
    for (size_t i = 0; i < in.size(); ++i) {
      if (reduced[i]) {
        kept[i] = 1;
        count *= in[i];
      }
      if (!reduced[i] || keep) shape.push_back(kept[i]);
    }
    strides = row_major_strides(kept);
    for (size_t i = 0; i < in.size(); ++i) {
      if (reduced[i]) strides[i] = 0;
    }
  }
};

/// y = finish(fold of step over the reduced axes, starting at `start`).
template <class A, class T, class Step, class Finish>
void reduce_elements(const Tensor& x, Tensor& y, const Reduction& reduction, A start, Step step,
                     Finish finish) {
  std::vector<A> sums(static_cast<size_t>(y.size()), start);
  const T* from = elements<T>(x);
  for_each_strided<1>(x.shape(), {reduction.strides},
                      [&](int64_t i, const std::array<int64_t, 1>& at) {
                        A& sum = sums[static_cast<size_t>(at[0])];
                        sum = step(sum, from[i]);
                      });
  T* to = mutable_elements<T>(y);
  for (int64_t i = 0; i < y.size(); ++i) {
    const auto result = finish(sums[static_cast<size_t>(i)]);
    if constexpr (std::is_floating_point_v<decltype(finish(start))>) {
      to[i] = saturated<T>(static_cast<double>(result));
    } else {
      to[i] = static_cast<T>(result);
    }
  }
}

/// Runs `compute(Type<T>, reduction, y)` for the input's number type.
template <class Compute>
void reduce(OperatorContext& context, Compute compute) {
  const Tensor& x = input(context, 0);
  const Reduction reduction(context, x.shape());
  Tensor& y = output(context, 0, x.dtype(), reduction.shape);
  with_number_type(x.dtype(), [&]<class T>(Type<T> type) { compute(type, x, reduction, y); });
}

template <class A>
constexpr auto kSame = [](A sum) { return sum; };

void reduce_sum(OperatorContext& context) {
  reduce(context, []<class T>(Type<T>, const Tensor& x, const Reduction& reduction, Tensor& y) {
    using A = Accumulator<T>;
    const auto add = [](A sum, T value) { return sum + static_cast<A>(value); };
    reduce_elements<A, T>(x, y, reduction, A{0}, add, kSame<A>);
  });
}

void reduce_mean(OperatorContext& context) {
  reduce(context, []<class T>(Type<T>, const Tensor& x, const Reduction& reduction, Tensor& y) {
    using A =
        std::conditional_t<std::is_signed_v<T> && std::is_integral_v<T>, int64_t, Accumulator<T>>;
    require(std::is_floating_point_v<T> || reduction.count > 0, "mean of no integers");
    const auto add = [](A sum, T value) {
      if constexpr (std::is_floating_point_v<T>)
        return sum + static_cast<A>(value);
      else
        return static_cast<A>(static_cast<uint64_t>(sum) + static_cast<uint64_t>(value));
    };
    reduce_elements<A, T>(x, y, reduction, A{0}, add,
                          [&](A sum) { return sum / static_cast<A>(reduction.count); });
  });
}

void reduce_prod(OperatorContext& context) {
  reduce(context, []<class T>(Type<T>, const Tensor& x, const Reduction& reduction, Tensor& y) {
    using A = Accumulator<T>;
    const auto multiply = [](A product, T value) { return product * static_cast<A>(value); };
    reduce_elements<A, T>(x, y, reduction, A{1}, multiply, kSame<A>);
  });
}

void reduce_l1(OperatorContext& context) {
  reduce(context, []<class T>(Type<T>, const Tensor& x, const Reduction& reduction, Tensor& y) {
    using A = Accumulator<T>;
    const auto add = [](A sum, T value) {
      return value < T{0} ? sum - static_cast<A>(value) : sum + static_cast<A>(value);
    };
    reduce_elements<A, T>(x, y, reduction, A{0}, add, kSame<A>);
  });
}

void reduce_sum_square(OperatorContext& context) {
  reduce(context, []<class T>(Type<T>, const Tensor& x, const Reduction& reduction, Tensor& y) {
    using A = Accumulator<T>;
    const auto add = [](A sum, T value) {
      return sum + static_cast<A>(value) * static_cast<A>(value);
    };
    reduce_elements<A, T>(x, y, reduction, A{0}, add, kSame<A>);
  });
}

void reduce_l2(OperatorContext& context) {
  reduce(context, []<class T>(Type<T>, const Tensor& x, const Reduction& reduction, Tensor& y) {
    const auto add = [](double sum, T value) {
      return sum + static_cast<double>(value) * static_cast<double>(value);
    };
    reduce_elements<double, T>(x, y, reduction, 0.0, add,
                               [](double sum) { return std::sqrt(sum); });
  });
}

void reduce_log_sum(OperatorContext& context) {
  reduce(context, []<class T>(Type<T>, const Tensor& x, const Reduction& reduction, Tensor& y) {
    const auto add = [](double sum, T value) { return sum + static_cast<double>(value); };
    reduce_elements<double, T>(x, y, reduction, 0.0, add, [](double sum) { return std::log(sum); });
  });
}

/// A running log-sum-exp: sum of exp(x - highest), so that nothing overflows.
struct ScaledSum {
  double highest = -std::numeric_limits<double>::infinity();
  double sum = 0.0;
};

ScaledSum add_exponential(ScaledSum state, double value) {
  if (value == -std::numeric_limits<double>::infinity()) return state;
  if (value > state.highest) {
    state.sum = state.sum * std::exp(state.highest - value);
    state.highest = value;
    if (std::isinf(value)) return {value, 1.0};
  }
  state.sum += std::isinf(state.highest) ? 0.0 : std::exp(value - state.highest);
  return state;
}

void reduce_log_sum_exp(OperatorContext& context) {
  reduce(context, []<class T>(Type<T>, const Tensor& x, const Reduction& reduction, Tensor& y) {
    const auto add = [](ScaledSum state, T value) {
      return add_exponential(state, static_cast<double>(value));
    };
    reduce_elements<ScaledSum, T>(x, y, reduction, ScaledSum{}, add, [](const ScaledSum& state) {
      return state.highest + std::log(state.sum);
    });
  });
}

/// Max (kMax) or min; NaN wins; of nothing: the neutral element.
template <bool kMax>
void reduce_extreme(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Reduction reduction(context, x.shape());
  Tensor& y = output(context, 0, x.dtype(), reduction.shape);
  with_plain_type(x.dtype(), [&]<class T>(Type<T>) {
    using Limits = std::numeric_limits<T>;
    const T low = Limits::has_infinity ? static_cast<T>(-Limits::infinity()) : Limits::lowest();
    const T high = Limits::has_infinity ? Limits::infinity() : Limits::max();
    const auto pick = [](T best, T value) {
      if constexpr (std::is_floating_point_v<T>) {
        if (std::isnan(best) || std::isnan(value)) return Limits::quiet_NaN();
      }
      return (kMax ? best < value : value < best) ? value : best;
    };
    // bool has no std::vector of addressable elements; it is reduced as the byte it is.
    using S = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;
    reduce_elements<S, T>(x, y, reduction, static_cast<S>(kMax ? low : high), pick, kSame<S>);
  });
}

constexpr OperatorEntry kEntries[] = {
    {"ReduceL1", widened<reduce_l1>},
    {"ReduceL2", widened<reduce_l2>},
    {"ReduceLogSum", widened<reduce_log_sum>},
    {"ReduceLogSumExp", widened<reduce_log_sum_exp>},
    {"ReduceMax", widened<reduce_extreme<true>>},
    {"ReduceMean", widened<reduce_mean>},
    {"ReduceMin", widened<reduce_extreme<false>>},
    {"ReduceProd", widened<reduce_prod>},
    {"ReduceSum", widened<reduce_sum>},
    {"ReduceSumSquare", widened<reduce_sum_square>},
};

}  // namespace

std::span<const OperatorEntry> reduce_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
