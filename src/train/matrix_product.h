#pragma once

#include <ATen/ATen.h>

namespace ounce::train {

/// `at::matmul(a, b)` with its gradients. In f32 on a CPU oneDNN multiplies what layers and
/// attentions are made of, views and all: rows [.., M, K] by one matrix [K, N], a quarter faster
/// than OpenBLAS where rows are as short as those of tokens, and stacks of as many matrices
/// (hundreds of 64 x 16 x 64 in the heads of an attention), of which libtorch without MKL makes
/// tensors first, which costs more than the products.
at::Tensor matrix_product(const at::Tensor& a, const at::Tensor& b);

}  // namespace ounce::train
