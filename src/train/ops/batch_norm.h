#pragma once

#include <ATen/ATen.h>

namespace ounce::train::ops {

/// BatchNormalization of x [N, C, ..] in training, by the statistics of all ranks' batches, which
/// are of one size: y = (x - mean) / sqrt(variance + epsilon) * scale + bias. The running ones
/// follow in place, running = kept * running + (1 - kept) * batch, with the unbiased variance.
///
/// With the mean over all elements of all ranks E, x^ = (x - mean) / sqrt(variance + epsilon):
///   dx = scale / sqrt(variance + epsilon) * (dy - E[dy] - x^ E[dy x^])
/// Gradients of scale and bias are those of this rank's batch, as those of all other parameters
/// are. Ranks exchange two messages, of 2 C numbers each: forward and backward.
///
/// f32 on a CPU is summed in f64 by chunks; libtorch's own adds the channels of a place one by one
/// in f32.
at::Tensor trained_batch_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias,
                              const at::Tensor& running_mean, const at::Tensor& running_variance,
                              double kept, double epsilon);

}  // namespace ounce::train::ops
