#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "report/json.h"

namespace ounce::report {

/// A graph input or output.
struct PortSummary {
  std::string name;
  std::string dtype;
  std::string shape;  // "[batch, 3, 224, 224]"
};

/// One node as `inspect` lists it.
struct NodeSummary {
  std::string name;
  std::string op;
  std::string output_shape;
  std::string weight_dtype;  // "" without weights
  int64_t parameters = 0;
  std::optional<int64_t> macs;  // nullopt: shapes are not known
};

/// What a model is, read off its graph.
struct ModelSummary {
  std::string file;
  int64_t file_bytes = 0;
  std::vector<PortSummary> inputs;
  std::vector<PortSummary> outputs;
  std::vector<NodeSummary> nodes;  // in order; without Q/DQ and folded shape arithmetic
  int64_t parameters = 0;
  int64_t parameter_bytes = 0;
  std::optional<int64_t> macs;  // nullopt when a layer with weights has an unknown cost
  std::map<std::string, int64_t> parameters_by_dtype;
  std::map<std::string, std::string> metadata;

  /// Mean bits of a parameter; 0 without parameters.
  double bits_per_parameter() const;
};

/// Summarizes `graph`, whose shapes have been inferred as far as they can be.
ModelSummary inspect(const Graph& graph);

Json to_json(const ModelSummary& summary);
std::string text(const ModelSummary& summary);

}  // namespace ounce::report
