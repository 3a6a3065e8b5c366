#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "graph/contents.h"
#include "graph/graph.h"

namespace ounce {

/// What shape inference sees of one node, and where it leaves its answer.
class InferenceContext {
 public:
  /// `inputs` has one entry per node input (nullptr: omitted); a Value's `constant` is defined when
  /// its content is known. `contents` (empty, or one entry per input) tells what is known of
  /// integers that describe shapes.
  InferenceContext(const Node& node, std::span<const Value* const> inputs, std::span<Value> outputs,
                   std::span<const SymbolicInts* const> contents = {})
      : node_(node), inputs_(inputs), outputs_(outputs), contents_(contents) {}

  const Node& node() const { return node_; }
  const AttributeMap& attributes() const { return node_.attributes; }

  size_t input_count() const { return inputs_.size(); }
  bool has_input(size_t i) const { return i < inputs_.size() && inputs_[i] != nullptr; }
  DType dtype(size_t i) const { return has_input(i) ? inputs_[i]->dtype : DType::undefined; }
  /// nullptr when the rank is unknown or the input omitted.
  const SymbolicShape* shape(size_t i) const {
    return has_input(i) && inputs_[i]->shape ? &*inputs_[i]->shape : nullptr;
  }
  /// nullptr when the content is not known.
  const Tensor* constant(size_t i) const {
    return has_input(i) && inputs_[i]->is_constant() ? &inputs_[i]->constant : nullptr;
  }
  /// The integers of a list input, each a number, a named dimension or unknown; nullopt when not
  /// even their count is known. Throws `Error` for a constant of rank 2 or more.
  std::optional<SymbolicInts> contents(size_t i) const;

  size_t output_count() const { return outputs_.size(); }
  void set_output(size_t i, DType dtype) {
    if (i < outputs_.size()) outputs_[i].dtype = dtype;
  }
  void set_output(size_t i, DType dtype, SymbolicShape shape) {
    if (i >= outputs_.size()) return;
    outputs_[i].dtype = dtype;
    outputs_[i].shape = std::move(shape);
  }
  /// For outputs whose content follows without arithmetic (`Shape` of a known shape, `Constant`).
  void set_constant(size_t i, Tensor tensor);

 private:
  const Node& node_;
  std::span<const Value* const> inputs_;
  std::span<Value> outputs_;
  std::span<const SymbolicInts* const> contents_;
};

/// Arithmetic of one node for concrete shapes. Bytes are counted by the caller from the tensors.
struct Cost {
  int64_t macs = 0;  // multiply-accumulates
  int64_t ops = 0;   // other elementary operations (one an output element unless stated)
};

/// One row of the operator table.
struct OperatorSchema {
  std::string_view name = {};
  std::string_view domain = {};  // "" for ONNX, "ounce" for fused operators of our own
  int min_inputs = 1;
  int max_inputs = 1;  // kVariadic for any number
  int min_outputs = 1;
  int max_outputs = 1;
  int since_opset = 1;  // lowest ONNX opset that has the operator in the form the graph uses
  /// Fills dtype and, as far as known, shape of the outputs. Throws `Error` on impossible inputs
  /// (message without node name: the caller adds it).
  void (*infer)(InferenceContext& context) = nullptr;
  /// Operands and results as Values with concrete shapes; nullptr: one op an output element.
  Cost (*cost)(const Node& node, std::span<const Value* const> inputs,
               std::span<const Value* const> outputs) = nullptr;
};

inline constexpr int kVariadic = 1 << 20;

/// The row named `op`, or nullptr.
const OperatorSchema* find_operator(std::string_view op);
/// The row of the node's operator; throws `Error` naming operator, node and the nearest known name.
const OperatorSchema& require_operator(const Node& node);
/// All rows, by name.
std::vector<const OperatorSchema*> all_operators();
/// The name in the table closest to `op` by edit distance, for messages.
std::string_view nearest_operator(std::string_view op);

/// Computes a node from constant inputs (undefined tensors for omitted ones). Given by the engine;
/// graph/ itself has no arithmetic.
using Evaluator = std::function<std::vector<Tensor>(const Node&, std::span<const Tensor>)>;

/// Infers dtype and shape of every value in order. With an evaluator, nodes whose inputs are all
/// known (including `Shape` of a known shape) are computed, so that shape arithmetic resolves;
/// their outputs become constants when at most `max_folded_bytes` large (the nodes stay until
/// `Graph::remove_dead`). Errors name the node.
struct InferOptions {
  const Evaluator* evaluator = nullptr;
  int64_t max_folded_bytes = int64_t{1} << 20;
  /// Larger results become constants too when at most this many times as large as their operands
  /// (a transposed weight: 1). 0: never.
  int64_t max_folded_growth = 0;
  /// All results together end at this much, or at as much as the graph's constants had: many small
  /// nodes must not fill the memory.
  int64_t max_folded_total = int64_t{64} << 20;
  bool reset = false;  // forget shapes of non-input values first (input shapes were changed)
};
void infer_shapes(Graph& graph, const InferOptions& options = {});

/// Sets the shapes of the graph inputs (by position) and infers all others anew.
/// Throws `Error` when a known dimension of an input contradicts.
void specialize_inputs(Graph& graph, std::span<const Shape> input_shapes,
                       const InferOptions& options = {});

/// Whether the shapes of all that a node reads and writes are numbers.
bool shapes_known(const Graph& graph, const Node& node);

/// Cost of a node whose shapes are all known.
Cost cost_of(const Graph& graph, const Node& node);

}  // namespace ounce
