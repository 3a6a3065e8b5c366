#pragma once

#include <functional>
#include <string>

#include "formats/ounce_file/strict_json.h"
#include "graph/graph.h"

namespace ounce::formats {

/// Stores a tensor beside the JSON, under a key that contains `name`; returns the key.
using StoreTensor = std::function<std::string(const std::string& name, const Tensor& tensor)>;
/// Fetches what was stored under `key`; throws `Error` when dtype or size contradict.
using FetchTensor = std::function<Tensor(const std::string& key, DType dtype, const Shape& shape)>;

/// The graph without its metadata and without the bytes of its tensors; docs/file-format.md
/// describes every field.
Json graph_to_json(const Graph& graph, const StoreTensor& store);

/// The graph back; validated. Throws `Error` on anything that does not make a legal graph.
Graph graph_from_json(const Json& json, const FetchTensor& fetch);

}  // namespace ounce::formats
