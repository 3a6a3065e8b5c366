#include "train/ops/common.h"
#include "train/ops/families.h"

namespace ounce::train::ops {
namespace {

/// Which axes a reduction runs over.
struct Reduction {
  std::vector<int64_t> axes;
  bool keep = true;
  bool nothing = false;  // no axes, and that means none

  explicit Reduction(const OpCall& call) {
    const int64_t rank = call.input(0).dim();
    if (call.has(1)) axes = normalized_axes(call.integers(1), rank);
    keep = call.attributes().get_int("keepdims", 1) != 0;
    nothing = axes.empty() && call.attributes().get_int("noop_with_empty_axes", 0) != 0;
    if (axes.empty()) axes = counted(rank);
  }
};

/// Reduces by `reduce(x, axes, keep)`, integers as doubles where libtorch wants floats. Without
/// axes to reduce `reduce` still runs, over an axis of one element.
template <class Reduce>
Outputs reduce_as_float(const OpCall& call, Reduce reduce) {
  const Reduction reduction(call);
  const at::Tensor& given = call.input(0);
  const at::Tensor x = given.is_floating_point() ? given : given.to(at::kDouble);
  const at::Tensor y = reduction.nothing || x.dim() == 0
                           ? reduce(x.unsqueeze(-1), std::vector<int64_t>{x.dim()}, false)
                           : reduce(x, reduction.axes, reduction.keep);
  return {y.to(given.scalar_type())};
}

Outputs reduce_sum(const OpCall& call) {
  const Reduction reduction(call);
  const at::Tensor& x = call.input(0);
  if (reduction.nothing) return {x};
  return {at::sum(x, reduction.axes, reduction.keep, x.scalar_type())};
}

Outputs reduce_mean(const OpCall& call) {
  return reduce_as_float(call, [](const at::Tensor& x, at::IntArrayRef axes, bool keep) {
    return x.mean(axes, keep);
  });
}

Outputs reduce_prod(const OpCall& call) {
  const Reduction reduction(call);
  at::Tensor y = call.input(0);
  const at::ScalarType type = y.scalar_type();
  if (reduction.nothing) return {y};
  std::vector<int64_t> axes = reduction.axes;
  std::sort(axes.rbegin(), axes.rend());  // from the last, so that the others keep their place
  for (const int64_t axis : axes) y = y.prod(axis, reduction.keep, type);
  return {y};
}

template <int kOrder>
Outputs reduce_norm(const OpCall& call) {
  return reduce_as_float(call, [](const at::Tensor& x, at::IntArrayRef axes, bool keep) {
    return at::linalg_vector_norm(x, kOrder, axes, keep);
  });
}

Outputs reduce_sum_square(const OpCall& call) {
  return reduce_as_float(call, [](const at::Tensor& x, at::IntArrayRef axes, bool keep) {
    return x.square().sum(axes, keep);
  });
}

Outputs reduce_log_sum(const OpCall& call) {
  return reduce_as_float(call, [](const at::Tensor& x, at::IntArrayRef axes, bool keep) {
    return x.sum(axes, keep).log();
  });
}

Outputs reduce_log_sum_exp(const OpCall& call) {
  return reduce_as_float(call, [](const at::Tensor& x, at::IntArrayRef axes, bool keep) {
    return at::logsumexp(x, axes, keep);
  });
}

/// Max (kMax) or min; of nothing: the neutral element.
template <bool kMax>
Outputs reduce_extreme(const OpCall& call) {
  const Reduction reduction(call);
  const at::Tensor& x = call.input(0);
  if (reduction.nothing) return {x};
  if (x.numel() == 0) {
    const double infinity = std::numeric_limits<double>::infinity();
    const at::Tensor shape = at::sum(x, reduction.axes, reduction.keep);
    return {at::full_like(shape, kMax ? -infinity : infinity).to(x.scalar_type())};
  }
  return {kMax ? at::amax(x, reduction.axes, reduction.keep)
               : at::amin(x, reduction.axes, reduction.keep)};
}

/// Index of the largest (kMax) or smallest element along the axis.
template <bool kMax>
Outputs arg_extreme(const OpCall& call) {
  const int64_t axis = axis_of(call, 0);
  const bool last = call.attributes().get_int("select_last_index", 0) != 0;
  const bool keep = call.attributes().get_int("keepdims", 1) != 0;
  const at::Tensor x = last ? call.input(0).flip(axis) : call.input(0);
  const at::Tensor index = kMax ? at::argmax(x, axis, keep) : at::argmin(x, axis, keep);
  return {last ? x.size(axis) - 1 - index : index};
}

/// The k first elements of every line along the axis, ties by index.
Outputs top_k(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const int64_t axis = axis_of(call, -1);
  const bool largest = call.attributes().get_int("largest", 1) != 0;
  const int64_t k = integer(call, 1, 0);
  require(k >= 0 && k <= x.size(axis), "k is outside the axis");
  // libtorch's topk leaves the order of ties open.
  const auto [values, order] = at::sort(x, /*stable=*/true, axis, largest);
  return {values.narrow(axis, 0, k), order.narrow(axis, 0, k)};
}

/// Running sums along an axis; `exclusive` leaves the element itself out.
Outputs cum_sum(const OpCall& call) {
  const bool reverse = call.attributes().get_int("reverse", 0) != 0;
  const int64_t axis = normalize_axis(integer(call, 1, 0), call.input(0).dim());
  at::Tensor x = reverse ? call.input(0).flip(axis) : call.input(0);
  if (call.attributes().get_int("exclusive", 0) != 0 && x.size(axis) > 0) {
    const at::Tensor zero = at::zeros_like(x.narrow(axis, 0, 1));
    x = at::cat({zero, x.narrow(axis, 0, x.size(axis) - 1)}, axis);
  }
  const at::Tensor sums = at::cumsum(x, axis, x.scalar_type());
  return {reverse ? sums.flip(axis) : sums};
}

constexpr OpRow kRows[] = {
    {"ArgMax", arg_extreme<true>},
    {"ArgMin", arg_extreme<false>},
    {"CumSum", cum_sum},
    {"ReduceL1", reduce_norm<1>},
    {"ReduceL2", reduce_norm<2>},
    {"ReduceLogSum", reduce_log_sum},
    {"ReduceLogSumExp", reduce_log_sum_exp},
    {"ReduceMax", reduce_extreme<true>},
    {"ReduceMean", reduce_mean},
    {"ReduceMin", reduce_extreme<false>},
    {"ReduceProd", reduce_prod},
    {"ReduceSum", reduce_sum},
    {"ReduceSumSquare", reduce_sum_square},
    {"TopK", top_k},
};

}  // namespace

Family reduce_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
