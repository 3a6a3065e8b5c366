#include "formats/ounce_file/adopt.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace ounce::formats {
namespace {

/// Any other byte than 0 or 1 in a C++ bool is undefined behaviour.
bool has_clean_booleans(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](std::byte b) { return b == std::byte{0} || b == std::byte{1}; });
}

bool is_aligned(DType dtype, const std::byte* bytes) {
  const size_t width = is_packed(dtype) ? 1 : static_cast<size_t>(bits_of(dtype)) / 8;
  return reinterpret_cast<uintptr_t>(bytes) % width == 0;
}

}  // namespace

Tensor adopt_bytes(DType dtype, Shape shape, std::span<const std::byte> bytes,
                   std::shared_ptr<const void> owner) {
  if (dtype == DType::boolean && !has_clean_booleans(bytes)) {
    return cast(Tensor::borrow(DType::u8, std::move(shape), bytes, std::move(owner)),
                DType::boolean);
  }
  Tensor tensor = Tensor::borrow(dtype, std::move(shape), bytes, std::move(owner));
  // The first write access to a borrowed tensor makes its own, aligned copy.
  if (!is_aligned(dtype, bytes.data())) tensor.mutable_raw();
  return tensor;
}

}  // namespace ounce::formats
