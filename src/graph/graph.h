#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/attributes.h"
#include "graph/name_index.h"
#include "graph/tensor.h"

namespace ounce {

/// Longer names of dimensions are dropped: every shape computed from there would carry them.
inline constexpr size_t kMaxSymbolLength = 128;

/// One dimension: known (`value >= 0`), named (`symbol`), or unknown (neither).
struct Dim {
  int64_t value = -1;
  std::string symbol;

  Dim() = default;
  Dim(int64_t known) : value(known) {}  // NOLINT: a number is a dimension
  explicit Dim(std::string name) : symbol(std::move(name)) {}

  bool known() const { return value >= 0; }
  bool operator==(const Dim&) const = default;
};

using SymbolicShape = std::vector<Dim>;

/// "[batch, 3, 224, ?]"
std::string to_string(const SymbolicShape& shape);
SymbolicShape symbolic(const Shape& shape);
/// The concrete shape when every dimension is known.
std::optional<Shape> concrete(const SymbolicShape& shape);

using ValueId = int32_t;
inline constexpr ValueId kNoValue = -1;

/// A tensor that flows along an edge: named, typed; a constant when `constant` is defined.
struct Value {
  std::string name;
  DType dtype = DType::undefined;
  std::optional<SymbolicShape> shape;  // nullopt: not even the rank is known
  Tensor constant;

  bool is_constant() const { return constant.defined(); }
};

/// An operator application. `op` is a name of the operator table (graph/operator.h); semantics are
/// those of ONNX opset 21, whatever the file said (readers upgrade). An omitted optional input or
/// output is `kNoValue`.
struct Node {
  std::string op;
  std::string name;   // unique in its graph, never empty
  std::string scope;  // module path such as "blocks.3.attn"; may be empty
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  AttributeMap attributes;

  ValueId input(size_t index) const { return index < inputs.size() ? inputs[index] : kNoValue; }
  ValueId output(size_t index) const { return index < outputs.size() ? outputs[index] : kNoValue; }
};

/// A model. Plain data: copying is cheap (weights are shared copy-on-write). Nodes stand in
/// topological order; every value has at most one producer; names of values and nodes are unique.
class Graph {
 public:
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  /// What travels with the model: preprocessing ("ounce.preprocess"), provenance, producer. Values
  /// are free text, by convention JSON for keys that start with "ounce.".
  std::map<std::string, std::string> metadata;

  Value& value(ValueId id) { return values[static_cast<size_t>(id)]; }
  const Value& value(ValueId id) const { return values[static_cast<size_t>(id)]; }

  /// Appends a value; a taken or empty name gets a numbered suffix.
  ValueId add_value(std::string_view name, DType dtype = DType::undefined,
                    std::optional<SymbolicShape> shape = std::nullopt);
  ValueId add_constant(std::string_view name, Tensor tensor);
  ValueId add_input(std::string_view name, DType dtype, SymbolicShape shape);

  /// Appends a node with new output values named after it ("name" or "name.1", ...). Returns the
  /// first output.
  ValueId add_node(std::string_view op, std::vector<ValueId> node_inputs,
                   AttributeMap attributes = {}, std::string_view node_name = {},
                   size_t output_count = 1);

  /// Id of the value with this name, or kNoValue. Quick for names there are.
  ValueId find_value(std::string_view value_name) const;
  /// Names the value `value_name`, or that with a numbered suffix when it is taken. Use this rather
  /// than the field once the graph has grown: new names are checked against an index.
  void rename_value(ValueId id, std::string_view value_name);
  /// The constant behind `id`, nullptr when `id` is kNoValue or not constant.
  const Tensor* constant(ValueId id) const;

  /// A name not yet used by any value / node, starting with `base`.
  std::string unique_value_name(std::string_view base) const;
  std::string unique_node_name(std::string_view base) const;

  /// Makes every consumer of `from` (graph outputs included, if `and_outputs`) read `to`.
  void replace_uses(ValueId from, ValueId to, bool and_outputs = true);

  /// Stable topological order of the nodes; throws `Error` naming a node on a cycle.
  void sort_topologically();

  /// Drops nodes whose outputs nobody reads, and values nobody mentions (ids change!). Graph inputs
  /// stay.
  void remove_dead();

  /// Throws `Error` naming the first broken invariant: ids in range, one producer a value, unique
  /// names, known operators with legal input counts, topological order.
  void validate() const;

 private:
  mutable std::map<std::string, int, std::less<>> name_counters_;
  mutable NameIndex value_names_;
  mutable NameIndex node_names_;
};

/// Who makes and who reads each value; a snapshot, valid until the graph's structure changes.
class GraphIndex {
 public:
  explicit GraphIndex(const Graph& graph);

  /// Index of the node that makes `id`, or -1 (constant, graph input).
  int producer(ValueId id) const { return producer_[static_cast<size_t>(id)]; }
  /// Node indices that read `id`, in order, one entry for each reading input.
  std::span<const int> consumers(ValueId id) const { return consumers_[static_cast<size_t>(id)]; }
  bool is_output(ValueId id) const { return is_output_[static_cast<size_t>(id)]; }
  /// The only reader is one node input, and `id` is no graph output.
  bool has_single_use(ValueId id) const { return consumers(id).size() == 1 && !is_output(id); }

 private:
  std::vector<int> producer_;
  std::vector<std::vector<int>> consumers_;
  std::vector<bool> is_output_;
};

}  // namespace ounce
