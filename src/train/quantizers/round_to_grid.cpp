#include "train/quantizers/round_to_grid.h"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <string>

#include "graph/error.h"
#include "train/quantizers/step_kernels.h"
#include "train/quantizers/straight_through.h"

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check_bits(int bits) {
  if (bits < 2 || bits > 8) {
    throw Error("a grid of " + std::to_string(bits) + " bits", {}, "2 to 8 bits");
  }
}

/// A grid with everything shaped to broadcast with x. `zero` is an integer or undefined.
struct ShapedGrid {
  const StepGrid& grid;
  at::Tensor scale;
  at::Tensor zero;

  ShapedGrid(const at::Tensor& x, const StepGrid& grid_in, const at::Tensor& scale_in,
             const at::Tensor& zero_in)
      : grid(grid_in), scale(along(scale_in, grid.slices, x)) {
    if (zero_in.defined()) zero = along(zero_in, grid.slices, x);
  }

  /// code - zero point; `steps` = x / scale is not needed for levels of one bit.
  at::Tensor codes(const at::Tensor& x, const at::Tensor& steps) const {
    if (grid.levels == Levels::kSigns) return signs_of(x);
    if (grid.levels == Levels::kMap) return x.gt(scale / 2).to(x.scalar_type());
    at::Tensor q = steps.round();
    if (!zero.defined()) return q.clamp_(grid.codes.lowest, grid.codes.highest);
    return q.add_(zero).clamp_(grid.codes.lowest, grid.codes.highest).sub_(zero);
  }

  at::Tensor outside(const at::Tensor& steps) const {
    if (!zero.defined()) {
      return steps.lt(grid.codes.lowest).logical_or_(steps.gt(grid.codes.highest));
    }
    return steps.lt(grid.codes.lowest - zero).logical_or_(steps.gt(grid.codes.highest - zero));
  }
};

void save(AutogradContext& context, const StepGrid& grid) {
  context.saved_data["levels"] = static_cast<int64_t>(grid.levels);
  context.saved_data["axis"] = grid.slices.axis;
  context.saved_data["count"] = grid.slices.count;
  context.saved_data["lowest"] = grid.codes.lowest;
  context.saved_data["highest"] = grid.codes.highest;
  context.saved_data["gradient_scale"] = grid.gradient_scale;
}

StepGrid saved_grid(AutogradContext& context) {
  auto& data = context.saved_data;
  return {.levels = static_cast<Levels>(data["levels"].toInt()),
          .slices = {data["axis"].toInt(), data["count"].toInt()},
          .codes = {data["lowest"].toInt(), data["highest"].toInt()},
          .gradient_scale = data["gradient_scale"].toDouble()};
}

class RoundToGrid : public torch::autograd::Function<RoundToGrid> {
 public:
  /// `zero_point` is read only when `has_zero`: libtorch wants every argument defined.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& scale,
                            const at::Tensor& zero_point, bool has_zero, const StepGrid& grid) {
    const at::Tensor zero = has_zero ? integer_zero_point(zero_point, grid.codes) : at::Tensor();
    save(*context, grid);
    context->save_for_backward({x, scale, zero});
    const ShapedGrid shaped(x, grid, scale, zero);
    if (fits_step_kernels(x, scale, grid.slices)) return step_forward(x, scale, zero, grid);
    const bool affine = grid.levels == Levels::kAffine;
    return shaped.codes(x, affine ? x / shaped.scale : at::Tensor()).mul_(shaped.scale);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor& gradient = gradients[0];
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& scale = saved[1];
    const StepGrid grid = saved_grid(*context);
    const bool learns_scale = context->needs_input_grad(1);
    const bool learns_zero = saved[2].defined() && context->needs_input_grad(2);
    variable_list result(5);  // one an argument of `forward`
    if (fits_step_kernels(x, scale, grid.slices)) {
      const StepGradients fused = step_backward(x, gradient, scale, saved[2], grid);
      result[0] = fused.x;
      if (learns_scale) result[1] = fused.scale;
      if (learns_zero) result[2] = fused.zero_point;
      return result;
    }
    const ShapedGrid shaped(x, grid, scale, saved[2]);
    const at::Tensor steps = x / shaped.scale;
    const at::Tensor outside = shaped.outside(steps);
    result[0] = gradient.masked_fill(outside, 0);
    if (learns_scale) {
      at::Tensor slope = shaped.codes(x, steps);
      slope.sub_(steps.masked_fill(outside, 0)).mul_(gradient);
      result[1] = sum_of_slices(slope, grid.slices).mul_(grid.gradient_scale);
    }
    if (learns_zero) {
      result[2] =
          sum_of_slices(result[0] - gradient, grid.slices).mul_(scale).mul_(grid.gradient_scale);
    }
    return result;
  }
};

}  // namespace

CodeRange signed_codes(int bits) {
  check_bits(bits);
  const int64_t half = int64_t{1} << (bits - 1);
  return {-half, half - 1};
}

CodeRange unsigned_codes(int bits) {
  check_bits(bits);
  return {0, (int64_t{1} << bits) - 1};
}

at::Tensor round_to_grid(const at::Tensor& x, const at::Tensor& scale, const StepGrid& grid,
                         const at::Tensor& zero_point) {
  const bool has_zero = zero_point.defined();
  return RoundToGrid::apply(x, scale, has_zero ? zero_point : scale.detach(), has_zero, grid);
}

at::Tensor integer_zero_point(const at::Tensor& zero_point, const CodeRange& codes) {
  return zero_point.detach().round().clamp_(codes.lowest, codes.highest);
}

AffineGrid grid_around_zero(const at::Tensor& scale, const Slices& slices, const CodeRange& codes) {
  return {scale, at::zeros_like(scale, at::kLong), slices.axis, codes.lowest, codes.highest};
}

double lsq_gradient_scale(int64_t elements, const CodeRange& codes) {
  return 1.0 / std::sqrt(static_cast<double>(elements) * static_cast<double>(codes.highest));
}

}  // namespace ounce::train
