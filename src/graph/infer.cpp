#include <algorithm>
#include <map>

#include "graph/error.h"
#include "graph/operator.h"
#include "graph/ops/shape_rules.h"

namespace ounce {
namespace {

/// Quantization must survive shape inference: a dequantized weight is no plain constant.
bool is_foldable(std::string_view op) {
  return op != "QuantizeLinear" && op != "DequantizeLinear" && op != "DynamicQuantizeLinear" &&
         op != "Binarize" && op != "DynamicFakeQuant" && op != "LogQuantize" && op != "FakeQuant";
}

/// What inference found, completed with what the file claimed.
SymbolicShape merged(SymbolicShape inferred, const std::optional<SymbolicShape>& declared) {
  if (!declared || declared->size() != inferred.size()) return inferred;
  for (size_t i = 0; i < inferred.size(); ++i) {
    if (inferred[i].known()) continue;
    if ((*declared)[i].known() || inferred[i].symbol.empty()) inferred[i] = (*declared)[i];
  }
  return inferred;
}

class Inference {
 public:
  Inference(Graph& graph, const InferOptions& options) : graph_(graph), options_(options) {}

  void run() {
    if (options_.reset) forget();
    size_t given = 0;
    for (Value& value : graph_.values) {
      check_declared(value);
      if (!value.is_constant()) continue;
      given += value.constant.bytes();
      value.dtype = value.constant.dtype();
      value.shape = symbolic(value.constant.shape());
    }
    budget_ = std::max(options_.max_folded_total, static_cast<int64_t>(given));
    for (const Node& node : graph_.nodes) infer_node(node);
  }

 private:
  /// The file may claim any shape. Bounded extents keep the operators' arithmetic from overflowing.
  static void check_declared(Value& value) {
    if (!value.shape) return;
    try {
      if (value.shape->size() > kMaxRank) throw rank_error();
      for (Dim& dim : *value.shape) {
        ops::checked_range(dim.value, "dimension");
        if (dim.symbol.size() > kMaxSymbolLength) dim.symbol.clear();
      }
      if (const auto shape = concrete(*value.shape)) byte_size(value.dtype, element_count(*shape));
    } catch (const Error& error) {
      throw Error(error.message(), "value '" + value.name + "'");
    }
  }

  /// Shapes and folded contents of everything that a node makes follow from the inputs.
  void forget() {
    for (const Node& node : graph_.nodes) {
      for (const ValueId id : node.outputs) {
        if (id == kNoValue) continue;
        graph_.value(id).shape.reset();
        graph_.value(id).constant = Tensor();
      }
    }
  }

  void infer_node(const Node& node) {
    const OperatorSchema& schema = require_operator(node);
    const std::string where = node.op + " node '" + node.name + "'";
    if (node.inputs.size() < static_cast<size_t>(schema.min_inputs)) {
      throw Error("has too few inputs", where);
    }
    std::vector<const Value*> inputs;
    for (const ValueId id : node.inputs) {
      inputs.push_back(id == kNoValue ? nullptr : &graph_.value(id));
    }
    for (int i = 0; i < schema.min_inputs; ++i) {
      if (inputs[static_cast<size_t>(i)] == nullptr) {
        throw Error("required input " + std::to_string(i) + " is missing", where);
      }
    }
    std::vector<Value> outputs(node.outputs.size());
    try {
      const std::vector<const SymbolicInts*> contents = contents_of(node);
      InferenceContext context(node, inputs, outputs, contents);
      if (schema.infer != nullptr) schema.infer(context);
      propagate(node, inputs, contents, outputs);
      check_sizes(outputs);
      fold(node, inputs, outputs);
    } catch (const Error& error) {
      throw Error(error.message(), where, error.remedy());
    }
    for (size_t i = 0; i < outputs.size(); ++i) store(node.outputs[i], std::move(outputs[i]));
  }

  /// What is known of the integers in each input.
  std::vector<const SymbolicInts*> contents_of(const Node& node) {
    std::vector<const SymbolicInts*> contents;
    for (const ValueId id : node.inputs) {
      auto found = id == kNoValue ? contents_.end() : contents_.find(id);
      if (id != kNoValue && found == contents_.end() && graph_.value(id).is_constant()) {
        if (auto known = contents_of_constant(graph_.value(id).constant)) {
          found = contents_.emplace(id, std::move(*known)).first;
        }
      }
      contents.push_back(found == contents_.end() ? nullptr : &found->second);
    }
    return contents;
  }

  /// Follows shape arithmetic; integers that turn out to be known altogether become a constant.
  void propagate(const Node& node, std::span<const Value* const> inputs,
                 std::span<const SymbolicInts* const> contents, std::vector<Value>& outputs) {
    if (outputs.empty() || node.outputs[0] == kNoValue) return;
    Value& output = outputs[0];
    auto known = propagate_contents(node, inputs, contents, output);
    if (!known) return;
    const bool all_numbers = std::all_of(known->begin(), known->end(),
                                         [](const SymbolicInt& i) { return i.number.has_value(); });
    if (all_numbers && output.dtype == DType::i64 && !output.is_constant()) {
      std::vector<int64_t> numbers;
      for (const SymbolicInt& integer : *known) numbers.push_back(*integer.number);
      output.constant = Tensor::of_i64(std::move(numbers)).reshaped(*concrete(*output.shape));
    }
    contents_.insert_or_assign(node.outputs[0], std::move(*known));
  }

  /// Later arithmetic on shapes may assume that every concrete one fits the address space.
  static void check_sizes(std::span<const Value> outputs) {
    for (const Value& output : outputs) {
      if (!output.shape) continue;
      if (output.shape->size() > kMaxRank) throw rank_error();
      if (const auto shape = concrete(*output.shape))
        byte_size(output.dtype, element_count(*shape));
    }
  }

  void fold(const Node& node, std::span<const Value* const> inputs, std::vector<Value>& outputs) {
    if (options_.evaluator == nullptr || !*options_.evaluator || !is_foldable(node.op)) return;
    std::vector<Tensor> operands;
    int64_t limit = 0;
    for (const Value* input : inputs) {
      if (input != nullptr && !input->is_constant()) return;
      operands.push_back(input == nullptr ? Tensor() : input->constant);
      limit += static_cast<int64_t>(operands.back().bytes()) * options_.max_folded_growth;
    }
    limit = std::min(std::max(limit, options_.max_folded_bytes), budget_);
    int64_t bytes = 0;
    for (const Value& output : outputs) {
      if (output.is_constant()) return;  // already done without arithmetic
      const auto shape = output.shape ? concrete(*output.shape) : std::nullopt;
      if (shape) bytes += static_cast<int64_t>(byte_size(output.dtype, element_count(*shape)));
      if (bytes > limit) return;
    }
    std::vector<Tensor> results = (*options_.evaluator)(node, operands);
    for (size_t i = 0; i < std::min(results.size(), outputs.size()); ++i) {
      if (!results[i].defined()) continue;
      outputs[i].dtype = results[i].dtype();
      outputs[i].shape = symbolic(results[i].shape());
      const auto size = static_cast<int64_t>(results[i].bytes());
      if (size > std::min(limit, budget_)) continue;
      budget_ -= size;
      outputs[i].constant = std::move(results[i]);
    }
  }

  void store(ValueId id, Value inferred) {
    if (id == kNoValue) return;
    Value& value = graph_.value(id);
    if (inferred.dtype != DType::undefined) value.dtype = inferred.dtype;
    if (inferred.shape) value.shape = merged(std::move(*inferred.shape), value.shape);
    if (inferred.is_constant()) value.constant = std::move(inferred.constant);
  }

  Graph& graph_;
  const InferOptions& options_;
  std::map<ValueId, SymbolicInts> contents_;
  int64_t budget_ = 0;  // bytes that folding may still produce
};

}  // namespace

void infer_shapes(Graph& graph, const InferOptions& options) {
  Inference(graph, options).run();
}

void specialize_inputs(Graph& graph, std::span<const Shape> input_shapes,
                       const InferOptions& options) {
  if (input_shapes.size() != graph.inputs.size()) {
    throw Error("the graph has " + std::to_string(graph.inputs.size()) + " inputs, got " +
                std::to_string(input_shapes.size()) + " shapes");
  }
  for (size_t i = 0; i < input_shapes.size(); ++i) {
    Value& input = graph.value(graph.inputs[i]);
    const Shape& wanted = input_shapes[i];
    element_count(wanted);  // throws on a hostile size
    bool fits = !input.shape || input.shape->size() == wanted.size();
    for (size_t d = 0; fits && input.shape && d < wanted.size(); ++d) {
      const Dim& dim = (*input.shape)[d];
      fits = !dim.known() || dim.value == wanted[d];
    }
    if (!fits) {
      throw Error("takes shape " + to_string(*input.shape) + ", got " + to_string(wanted),
                  "input '" + input.name + "'", "an input of the shape the model states");
    }
  }
  for (size_t i = 0; i < input_shapes.size(); ++i) {
    graph.value(graph.inputs[i]).shape = symbolic(input_shapes[i]);
  }
  InferOptions anew = options;
  anew.reset = true;
  infer_shapes(graph, anew);
}

}  // namespace ounce
