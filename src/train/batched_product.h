#pragma once

#include <ATen/ATen.h>

namespace ounce::train {

/// `at::matmul(a, b)` with its gradients. Stacks of small matrices on a CPU (the heads of an
/// attention: hundreds of products of 64 x 16 x 64) go to oneDNN as they lie, views and all:
/// libtorch without MKL makes a tensor of every matrix first, which costs more than the product.
at::Tensor batched_product(const at::Tensor& a, const at::Tensor& b);

}  // namespace ounce::train
