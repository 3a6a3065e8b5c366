#include "train/ops/common.h"
#include "train/ops/families.h"

namespace ounce::train::ops {
namespace {

/// Indices in [0, extent): negative ones count from the end.
at::Tensor counted_from_start(const at::Tensor& indices, int64_t extent) {
  const at::Tensor wide = indices.to(at::kLong);
  return at::where(wide < 0, wide + extent, wide);
}

Outputs gather(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const at::Tensor& indices = call.input(1);
  const int64_t axis = axis_of(call, 0);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.erase(shape.begin() + axis);
  shape.insert(shape.begin() + axis, indices.sizes().begin(), indices.sizes().end());
  const at::Tensor rows = counted_from_start(indices, x.size(axis)).flatten();
  return {x.index_select(axis, rows).reshape(shape)};
}

Outputs gather_elements(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const int64_t axis = axis_of(call, 0);
  return {x.gather(axis, counted_from_start(call.input(1), x.size(axis)))};
}

/// Positions [batch..., slices] of the slices of x that the last dimension of `indices` addresses,
/// x seen as [rows, slice elements].
struct Slices {
  at::Tensor rows;
  std::vector<int64_t> slice;  // shape of one

  Slices(const at::Tensor& x, const at::Tensor& indices, int64_t batch) {
    require(indices.dim() >= 1 && x.dim() >= 1, "indices and data must have a dimension");
    require(batch >= 0 && batch < indices.dim() && batch < x.dim(), "batch_dims out of range");
    const int64_t depth = indices.size(-1);
    require(depth >= 1 && depth <= x.dim() - batch,
            "the last dimension of indices does not address the data");
    const std::vector<int64_t> leading = indices.sizes().slice(0, indices.sizes().size() - 1).vec();
    rows = at::zeros(leading, indices.options().dtype(at::kLong));
    for (int64_t d = 0; d < batch + depth; ++d) {
      const at::Tensor at = d < batch ? along_axis(at::arange(x.size(d), rows.options()), d,
                                                   static_cast<int64_t>(leading.size()))
                                      : indices.select(-1, d - batch);
      rows = rows * x.size(d) + counted_from_start(at, x.size(d));
    }
    slice = x.sizes().slice(static_cast<size_t>(batch + depth)).vec();
  }

  /// x as [rows, slice elements].
  at::Tensor matrix(const at::Tensor& x) const {
    const int64_t width = element_count(slice);
    return x.reshape({width == 0 ? 0 : x.numel() / width, width});
  }
};

Outputs gather_nd(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const Slices slices(x, call.input(1), call.attributes().get_int("batch_dims", 0));
  std::vector<int64_t> shape = slices.rows.sizes().vec();
  shape.insert(shape.end(), slices.slice.begin(), slices.slice.end());
  return {slices.matrix(x).index_select(0, slices.rows.flatten()).reshape(shape)};
}

/// `x` with `updates` written, or folded in, at `indices` along `axis`.
at::Tensor scattered(const OpCall& call, const at::Tensor& x, int64_t axis,
                     const at::Tensor& indices, const at::Tensor& updates) {
  const std::string reduction = call.attributes().get_string("reduction", "none");
  if (reduction == "none") return x.scatter(axis, indices, updates);
  if (reduction == "add") return x.scatter_add(axis, indices, updates);
  const std::string name = reduction == "mul"   ? "prod"
                           : reduction == "min" ? "amin"
                           : reduction == "max" ? "amax"
                                                : "";
  if (name.empty()) {
    throw Error("reduction is '" + reduction + "'; none, add, mul, min or max wanted");
  }
  return x.scatter_reduce(axis, indices, updates, name);
}

Outputs scatter_elements(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const int64_t axis = axis_of(call, 0);
  return {scattered(call, x, axis, counted_from_start(call.input(1), x.size(axis)), call.input(2))};
}

Outputs scatter_nd(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const Slices slices(x, call.input(1), 0);
  const at::Tensor matrix = slices.matrix(x);
  const at::Tensor rows = slices.rows.flatten().unsqueeze(1).expand({-1, matrix.size(1)});
  const at::Tensor updates = call.input(2).reshape(rows.sizes());
  return {scattered(call, matrix, 0, rows, updates).reshape(x.sizes())};
}

/// The slices along the axis (of the flattened input without one) whose condition is true.
Outputs compress(const OpCall& call) {
  const bool flat = !call.attributes().has("axis");
  const at::Tensor x = flat ? call.input(0).flatten() : call.input(0);
  const int64_t axis = flat ? 0 : axis_of(call, 0);
  return {x.index_select(axis, call.input(1).nonzero().flatten())};
}

/// Indices of the elements that are not zero, [rank, count].
Outputs non_zero(const OpCall& call) {
  return {call.input(0).nonzero().t()};
}

constexpr OpRow kRows[] = {
    {"Compress", compress},    {"Gather", gather},    {"GatherElements", gather_elements},
    {"GatherND", gather_nd},   {"NonZero", non_zero}, {"ScatterElements", scatter_elements},
    {"ScatterND", scatter_nd},
};

}  // namespace

Family gather_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
