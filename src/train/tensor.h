#pragma once

#include <ATen/ATen.h>

#include "graph/tensor.h"

namespace ounce::train {

/// The same elements on the CPU as a libtorch tensor of its own. Packed types become int8 codes,
/// f16 and bf16 floats. Throws `Error` for a dtype libtorch has no equal of.
at::Tensor to_torch(const Tensor& tensor);

/// The elements as a tensor of the graph: f32, f64 as f32, i64, i32, i16, u8, i8 or bool. From any
/// device; a tensor with gradients gives its content.
Tensor from_torch(const at::Tensor& tensor);

}  // namespace ounce::train
