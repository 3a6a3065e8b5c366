#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "graph/graph.h"

namespace ounce::formats {

/// Reads an ONNX model: default domain, opset 7 to 21, upgraded to the semantics of opset 21.
/// Weights in external files are mapped, not copied; they must lie in the model's folder.
///
/// Throws `Error` naming the file, and the node or tensor where there is one: not an ONNX file,
/// damaged, an operator that is not supported or that ONNX does not have in the model's opset, a
/// subgraph, data outside the folder, more parts or dimensions than any network has.
Graph read_onnx(const std::filesystem::path& path);

/// The same from bytes in memory; external files are looked up in `external_data_folder`, and
/// refused when it is empty.
Graph read_onnx_bytes(std::span<const std::byte> bytes,
                      const std::filesystem::path& external_data_folder = {});

/// A file that holds one serialized TensorProto (`.pb`), as test suites keep inputs and outputs.
Tensor read_tensor_proto(const std::filesystem::path& path);
Tensor read_tensor_proto_bytes(std::span<const std::byte> bytes);

/// Where `write_onnx` puts the weights.
enum class WeightPlacement {
  automatic,  // inside, up to `WriteOptions::largest_inside_bytes`
  inside,
  external,  // in "<file name>.data" beside the model
};

struct WriteOptions {
  WeightPlacement weights = WeightPlacement::automatic;
  /// The format ends at 2 GB; nodes and names need room beside the weights.
  size_t largest_inside_bytes = 1'800'000'000;
  /// Constants smaller than this stay inside even when weights go out: shapes must be readable
  /// without the data file.
  size_t external_threshold_bytes = 1024;
  /// Operators that only a later opset has are written as the simpler ones they stand for.
  int newest_opset = 21;
};

/// Writes the graph as ONNX in the lowest opset (13 or above) that can express it. Fused operators
/// of our own are expanded, 2-bit and 1-bit constants widened to the narrowest standard type. Equal
/// graphs give equal bytes. The target is replaced only once the new file is complete.
///
/// Throws `Error` naming the node when something has no ONNX form.
void write_onnx(const Graph& graph, const std::filesystem::path& path,
                const WriteOptions& options = {});

/// Lowest opset of the default domain that expresses every node of `graph`; at least 13.
int required_opset(const Graph& graph);

}  // namespace ounce::formats
