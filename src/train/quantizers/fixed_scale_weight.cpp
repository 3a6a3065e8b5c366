#include "train/quantizers/fixed_scale_weight.h"

#include "graph/error.h"

namespace ounce::train {

Grid FixedScaleWeight::freeze(const at::Tensor& /*x*/) const {
  AffineGrid grid;
  grid.scale = grid_.scale.detach().reshape({-1}).clone();
  grid.zero_point = at::zeros_like(grid.scale);
  grid.lowest = grid_.codes.lowest;
  grid.highest = grid_.codes.highest;
  for (int64_t axis = 0; axis < grid_.scale.dim(); ++axis) {
    if (grid_.scale.size(axis) == grid_.scale.numel()) grid.axis = axis;
  }
  if (grid_.scale.numel() != 1 && grid_.scale.size(grid.axis) != grid_.scale.numel()) {
    throw Error("scales of groups of weights", {}, "a scale a channel");
  }
  return grid;
}

}  // namespace ounce::train
