#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graph/dtype.h"
#include "graph/tensor.h"

namespace ounce::formats {

// The safetensors container, all numbers little-endian:
//
//   8 bytes   N, length of the header
//   N bytes   JSON: {"__metadata__": {text: text}, name: {"dtype", "shape", "data_offsets"}, ...},
//             padded with spaces
//   the rest  tensors, row-major; offsets count from here; every byte belongs to exactly one tensor

/// One tensor of a container.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::undefined;
  Shape shape;
  std::span<const std::byte> bytes;
};

struct Safetensors {
  std::map<std::string, std::string> metadata;
  std::map<std::string, SafetensorsEntry, std::less<>> entries;
};

/// Parses and checks a container; the entries point into `bytes`. Throws `Error` on a header that
/// does not fit, unknown types, sizes that contradict shapes, tensors that overlap, and gaps.
Safetensors parse_safetensors(std::span<const std::byte> bytes);

/// Writes a container whose tensors begin at multiples of 64 bytes of the file. What lies between
/// two tensors must belong to a tensor too, so fillers named "__padding__.<n>" are put there;
/// readers of ours leave them out of `entries`. Entries are written in the given order.
void write_safetensors(const std::map<std::string, std::string>& metadata,
                       std::span<const SafetensorsEntry> entries,
                       const std::filesystem::path& path);

/// True for names that the container itself uses.
bool is_reserved_name(std::string_view name);

}  // namespace ounce::formats
