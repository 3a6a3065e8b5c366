#pragma once

#include "graph/graph.h"

/// Codes of three bits and fewer, which ONNX has no type for.
namespace ounce::formats {

/// Makes them four-bit integers, of which they use a part. Throws `Error` for a computed value.
void widen_narrow_codes(Graph& graph);

/// Back again: four-bit constants that nodes dequantize around 0, and that fit the one bit of -1
/// and 1, two bits or three, so that the engine's kernels of those bits take them.
void restore_narrow_codes(Graph& graph);

}  // namespace ounce::formats
