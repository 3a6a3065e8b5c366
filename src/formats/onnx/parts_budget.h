#pragma once

#include <cstddef>
#include <span>

namespace ounce::formats {

/// Throws `Error` when a serialized ONNX model has so many parts (nodes, attributes, names,
/// dimensions) that parsing it would take over `max_bytes` of memory beside the weights. Two bytes
/// of a file can ask for a message of hundreds, so this must be known before parsing. Damage is
/// left to the parser to report.
void check_parts(std::span<const std::byte> model, size_t max_bytes);

}  // namespace ounce::formats
