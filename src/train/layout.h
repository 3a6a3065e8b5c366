#pragma once

#include <ATen/ATen.h>

namespace ounce::train {

/// `tensor` with its elements in the order of memory of `x`, which has its shape.
inline at::Tensor in_layout_of(const at::Tensor& x, const at::Tensor& tensor) {
  return tensor.strides() == x.strides() ? tensor : at::empty_like(x).copy_(tensor);
}

}  // namespace ounce::train
