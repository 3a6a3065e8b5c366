#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <utility>

namespace ounce::train {

/// The parts of a tensor that share a scale: all of it (`count` 1), or one an index of `axis`
/// (output channels of a weight, heads of an attention operand). A negative axis counts from the
/// last.
struct Slices {
  int64_t axis = 0;
  int64_t count = 1;
};

/// `values` [count] as a view that broadcasts with `x`. Throws `Error` when `x` has not so many
/// slices; so do the functions below.
at::Tensor along(const at::Tensor& values, const Slices& slices, const at::Tensor& x);

/// One number a slice, [count].
at::Tensor sum_of_slices(const at::Tensor& x, const Slices& slices);
at::Tensor mean_of_slices(const at::Tensor& x, const Slices& slices);
at::Tensor least_of_slices(const at::Tensor& x, const Slices& slices);
at::Tensor largest_of_slices(const at::Tensor& x, const Slices& slices);
/// Least and largest, in one pass over all of `x` where it is one slice.
std::pair<at::Tensor, at::Tensor> ends_of_slices(const at::Tensor& x, const Slices& slices);

}  // namespace ounce::train
