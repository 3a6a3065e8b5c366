#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/graph.h"

namespace ounce::formats {

/// Builds a Graph from nodes that refer to values by the names a file gave them. Shapes are
/// inferred as nodes arrive, since some upgrades need a rank; what cannot be inferred stays
/// unknown.
class GraphBuilder {
 public:
  Graph& graph() { return graph_; }

  /// The value a file calls `name`; created, not yet made by anybody, when first mentioned. An
  /// empty name is an omitted operand: kNoValue.
  ValueId named(const std::string& name);
  /// Marks the value as made (by a node, as an input, as a constant). Throws `Error` when it
  /// already was.
  void define(ValueId id);
  void define_constant(const std::string& name, Tensor tensor);

  /// A new value / constant that the file does not name, for rewritten nodes.
  ValueId fresh(std::string_view base);
  ValueId constant(std::string_view base, Tensor tensor);

  /// Appends a node whose outputs exist; makes its name unique and infers its outputs.
  void append(Node node);
  /// Appends a node with one new output, which it returns; named after `parent`.
  ValueId emit(const Node& parent, std::string_view op, std::vector<ValueId> inputs,
               AttributeMap attributes = {});

  std::optional<int64_t> rank(ValueId id) const;
  /// The size of one dimension when it is known.
  std::optional<int64_t> dim(ValueId id, int64_t axis) const;
  const Tensor* constant_of(ValueId id) const { return graph_.constant(id); }

  /// Throws `Error` naming the first value that is read and never made; sorts the nodes.
  void finish();

 private:
  ValueId add(std::string name);
  std::string unique_node_name(const std::string& base);
  void infer(const Node& node);

  Graph graph_;
  std::unordered_map<std::string, ValueId> ids_;
  std::vector<bool> defined_;
  std::unordered_set<std::string> node_names_;
  std::unordered_map<std::string, size_t> suffixes_;
};

}  // namespace ounce::formats
