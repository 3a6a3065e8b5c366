#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "graph/tensor.h"

namespace ounce::formats {

/// A tensor over bytes from a file: borrowed from `owner` where their alignment and content allow,
/// else copied. Booleans other than 0 and 1 become 1. `bytes` must have the size of the tensor
/// (`Error` otherwise).
Tensor adopt_bytes(DType dtype, Shape shape, std::span<const std::byte> bytes,
                   std::shared_ptr<const void> owner);

}  // namespace ounce::formats
