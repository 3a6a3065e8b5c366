#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/common.h"
#include "engine/session.h"
#include "graph/graph.h"
#include "report/measurement.h"

namespace ounce::cli {

/// "pixels=1x3x224x224" or, for a model with one input, "1x3x224x224". Throws `UsageError`.
report::NamedShape parse_shape(const std::string& text);
std::vector<report::NamedShape> parse_shapes(const std::vector<std::string>& texts);

/// Reads a model that is to be run: `Error` also when a weight is NaN or infinite.
Graph load_model(const std::filesystem::path& path);

/// The engine for a model, with the threads asked for.
engine::Session open_session(const Graph& graph, const CommonOptions& options);

/// Size of the file, with its external data counted where a neighbour "<name>.data" holds it.
int64_t file_bytes(const std::filesystem::path& path);

/// Fixes the input shapes as far as they are known (batch 1, `shapes` override) and infers the
/// rest.
void settle_shapes(Graph& graph, const std::vector<report::NamedShape>& shapes);

}  // namespace ounce::cli
