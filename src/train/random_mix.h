#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace ounce::train {

/// `x` with about `share` (in steps of 1/256) of its elements, chosen at random, replaced by those
/// of `other`, with the gradients of both. `state` is that of the random numbers, and goes on. Many
/// times faster than `at::where` of `at::rand_like`: both work element after element.
at::Tensor mixed_at_random(const at::Tensor& x, const at::Tensor& other, double share,
                           uint64_t& state);

}  // namespace ounce::train
