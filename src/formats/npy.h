#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "graph/tensor.h"

namespace ounce::formats {

/// Reads a NumPy array file (`.npy`, versions 1 to 3): little-endian numbers or booleans in C or
/// Fortran order. Throws `Error` on anything else, naming the file.
Tensor read_npy(const std::filesystem::path& path);
Tensor read_npy_bytes(std::span<const std::byte> bytes);

/// Writes a `.npy` file, version 1, C order. Packed and bf16 tensors have no NumPy type: `Error`.
void write_npy(const Tensor& tensor, const std::filesystem::path& path);

}  // namespace ounce::formats
