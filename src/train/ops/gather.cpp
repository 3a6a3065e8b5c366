#include "train/ops/common.h"
#include "train/ops/families.h"

namespace ounce::train::ops {
namespace {

/// Indices in [0, extent): negative ones count from the end.
at::Tensor counted_from_end(const at::Tensor& indices, int64_t extent) {
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
  const at::Tensor rows = counted_from_end(indices, x.size(axis)).flatten();
  return {x.index_select(axis, rows).reshape(shape)};
}

constexpr OpRow kRows[] = {
    {"Gather", gather},
};

}  // namespace

Family gather_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
