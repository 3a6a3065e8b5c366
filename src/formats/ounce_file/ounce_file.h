#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "graph/graph.h"

namespace ounce::formats {

/// Writes the engine file: a safetensors file that holds the constants as tensors and everything
/// else of the graph as JSON in its metadata (docs/file-format.md). Equal graphs give equal bytes.
/// The target is replaced only once the new file is complete.
void write_ounce(const Graph& graph, const std::filesystem::path& path);

/// Reads an engine file. The file is mapped: constants borrow its pages, read-only, and keep it
/// open as long as they live. Gives back exactly the graph that was written.
///
/// Throws `Error` naming the file and what is wrong with it; nothing in it is trusted.
Graph read_ounce(const std::filesystem::path& path);

/// The same from bytes that `owner` keeps alive (a resource in a program, a test).
Graph read_ounce_bytes(std::span<const std::byte> bytes, std::shared_ptr<const void> owner);

/// True when the bytes begin like a safetensors file: a header length that fits, then '{'.
bool looks_like_safetensors(std::span<const std::byte> bytes);

}  // namespace ounce::formats
