#pragma once

#include <ATen/ATen.h>

#include "train/quantizers/round_to_grid.h"

namespace ounce::train {

/// `round_to_grid` in one pass over f32 values in the memory of the CPU, where tensor operators
/// take four passes forward and eleven backward, bound by memory. The results are the same, those
/// of the sums up to their rounding.
///
/// Whether the loops below take `x`: f32, on the CPU, without gaps, in long runs that share a step
/// or with the slices along the last axis.
bool fits_step_kernels(const at::Tensor& x, const at::Tensor& scale, const Slices& slices);

/// `zero_point` holds integers, or is undefined.
at::Tensor step_forward(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                        const StepGrid& grid);

struct StepGradients {
  at::Tensor x;
  at::Tensor scale;       // [count]
  at::Tensor zero_point;  // [count], of nothing without zero points
};
StepGradients step_backward(const at::Tensor& x, const at::Tensor& gradient,
                            const at::Tensor& scale, const at::Tensor& zero_point,
                            const StepGrid& grid);

}  // namespace ounce::train
