#include <algorithm>
#include <numeric>

#include "engine/reference/common.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

/// Index of the largest (kMax) or smallest element along the axis.
template <bool kMax>
void arg_extreme(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", 0), x.rank());
  const bool last = context.attributes().get_int("select_last_index", 0) != 0;
  const AxisView view = view_along(x.shape(), axis);
  Shape shape = x.shape();
  shape[static_cast<size_t>(axis)] = 1;
  if (context.attributes().get_int("keepdims", 1) == 0) shape.erase(shape.begin() + axis);
  int64_t* to = mutable_elements<int64_t>(output(context, 0, DType::i64, shape));
  require(view.axis > 0 || element_count(shape) == 0, "the axis is empty");
  with_number_type(x.dtype(), [&]<class T>(Type<T>) {
    for (int64_t o = 0; o < view.outer; ++o) {
      for (int64_t i = 0; i < view.inner; ++i) {
        const T* line = elements<T>(x) + o * view.axis * view.inner + i;
        int64_t best = 0;
        for (int64_t n = 1; n < view.axis; ++n) {
          const T value = line[n * view.inner];
          const T record = line[best * view.inner];
          if ((kMax ? value > record : value < record) || (last && value == record)) best = n;
        }
        to[o * view.inner + i] = best;
      }
    }
  });
}

/// NaN counts as larger than every number, so that the order is total.
template <class T>
bool is_less(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
  }
  return a < b;
}

/// The k first elements of every line along the axis, ties by index; always written in order, which
/// `sorted = 0` allows.
void top_k(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", -1), x.rank());
  const bool largest = context.attributes().get_int("largest", 1) != 0;
  const AxisView view = view_along(x.shape(), axis);
  const int64_t k = integer(context, 1, 0);
  require(k >= 0 && k <= view.axis, "k is outside the axis");
  Shape shape = x.shape();
  shape[static_cast<size_t>(axis)] = k;
  Tensor values(x.dtype(), shape);
  Tensor indices(DType::i64, shape);
  with_number_type(x.dtype(), [&]<class T>(Type<T>) {
    T* to = mutable_elements<T>(values);
    int64_t* at = mutable_elements<int64_t>(indices);
    std::vector<int64_t> order(static_cast<size_t>(view.axis));
    for (int64_t o = 0; o < view.outer; ++o) {
      for (int64_t i = 0; i < view.inner; ++i) {
        const T* line = elements<T>(x) + o * view.axis * view.inner + i;
        std::iota(order.begin(), order.end(), 0);
        const auto comes_first = [&](int64_t a, int64_t b) {
          const T left = line[a * view.inner];
          const T right = line[b * view.inner];
          if (is_less(left, right)) return !largest;
          if (is_less(right, left)) return largest;
          return a < b;
        };
        std::partial_sort(order.begin(), order.begin() + k, order.end(), comes_first);
        for (int64_t n = 0; n < k; ++n) {
          const int64_t offset = (o * k + n) * view.inner + i;
          at[offset] = order[static_cast<size_t>(n)];
          to[offset] = line[at[offset] * view.inner];
        }
      }
    }
  });
  if (wants_output(context, 0)) store(context, 0, values);
  if (wants_output(context, 1)) store(context, 1, indices);
}

/// Indices of the elements that are not zero, [rank, count].
void non_zero(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  std::vector<int64_t> found;
  with_plain_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    for (int64_t i = 0; i < x.size(); ++i) {
      if (from[i] != T{0}) found.push_back(i);
    }
  });
  const auto count = static_cast<int64_t>(found.size());
  const std::vector<int64_t> strides = row_major_strides(x.shape());
  Tensor& y = output(context, 0, DType::i64, {x.rank(), count});
  int64_t* to = mutable_elements<int64_t>(y);
  for (size_t axis = 0; axis < strides.size(); ++axis) {
    for (const int64_t i : found) *to++ = i / strides[axis] % x.shape()[axis];
  }
}

/// Running sums along an axis; `exclusive` leaves the element itself out.
void cum_sum(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const int64_t axis = normalize_axis(integer(context, 1, 0), x.rank());
  const bool exclusive = context.attributes().get_int("exclusive", 0) != 0;
  const bool reverse = context.attributes().get_int("reverse", 0) != 0;
  const AxisView view = view_along(x.shape(), axis);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_number_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (int64_t o = 0; o < view.outer; ++o) {
      for (int64_t i = 0; i < view.inner; ++i) {
        Accumulator<T> sum = 0;
        for (int64_t n = 0; n < view.axis; ++n) {
          const int64_t position = reverse ? view.axis - 1 - n : n;
          const int64_t at = (o * view.axis + position) * view.inner + i;
          const Accumulator<T> before = sum;
          sum += static_cast<Accumulator<T>>(from[at]);
          to[at] = static_cast<T>(exclusive ? before : sum);
        }
      }
    }
  });
}

constexpr OperatorEntry kEntries[] = {
    {"ArgMax", widened<arg_extreme<true>>},
    {"ArgMin", widened<arg_extreme<false>>},
    {"CumSum", widened<cum_sum>},
    {"NonZero", widened<non_zero>},
    {"TopK", widened<top_k>},
};

}  // namespace

std::span<const OperatorEntry> search_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
