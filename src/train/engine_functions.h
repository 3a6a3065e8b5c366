#pragma once

#include <ATen/ATen.h>

/// Functions whose values in f32 on a CPU are the engine's, the same as deployed; libtorch's own
/// take two to four times as long. Gradients are libtorch's, and so is all of other types and
/// devices.
namespace ounce::train {

/// `at::softmax(x, -1)`; but a row of -infinity alone becomes zeros.
at::Tensor row_softmax(const at::Tensor& x);
/// `at::gelu(x)`, by the error function.
at::Tensor erf_gelu(const at::Tensor& x);
/// `at::layer_norm(x, gamma's shape, gamma, beta, epsilon)`; `beta` may be undefined.
at::Tensor row_layer_norm(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                          double epsilon);

}  // namespace ounce::train
