#include "graph/operator.h"

#include <algorithm>
#include <numeric>

#include "graph/error.h"
#include "graph/ops/families.h"

namespace ounce {
namespace {

using FamilyFunction = ops::Family (*)();

/// The operator table: one line a file of graph/ops/.
constexpr FamilyFunction kFamilies[] = {
    ops::convolution_operators,     //
    ops::elementwise_operators,     //
    ops::fused_operators,           //
    ops::gather_scatter_operators,  //
    ops::matmul_operators,          //
    ops::misc_operators,            //
    ops::normalization_operators,   //
    ops::pooling_operators,         //
    ops::quantize_operators,        //
    ops::reduce_operators,          //
    ops::resize_operators,          //
    ops::shape_operators,           //
};

const std::vector<const OperatorSchema*>& table() {
  static const std::vector<const OperatorSchema*> rows = [] {
    std::vector<const OperatorSchema*> all;
    for (const FamilyFunction family : kFamilies) {
      for (const OperatorSchema& schema : family()) all.push_back(&schema);
    }
    std::sort(all.begin(), all.end(),
              [](const OperatorSchema* a, const OperatorSchema* b) { return a->name < b->name; });
    return all;
  }();
  return rows;
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Levenshtein distance, letter case ignored.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (lower(a[i]) == lower(b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

std::vector<const Value*> values_of(const Graph& graph, std::span<const ValueId> ids) {
  std::vector<const Value*> values;
  for (const ValueId id : ids) values.push_back(id == kNoValue ? nullptr : &graph.value(id));
  return values;
}

}  // namespace

void InferenceContext::set_constant(size_t i, Tensor tensor) {
  if (i >= outputs_.size()) return;
  outputs_[i].dtype = tensor.dtype();
  outputs_[i].shape = symbolic(tensor.shape());
  outputs_[i].constant = std::move(tensor);
}

std::optional<SymbolicInts> InferenceContext::contents(size_t i) const {
  if (const Tensor* tensor = constant(i)) {
    if (tensor->rank() > 1) {
      throw Error("input " + std::to_string(i) + " must be a list of integers, has shape " +
                  to_string(tensor->shape()));
    }
    const std::vector<int64_t> values = tensor->to_i64();
    return SymbolicInts(values.begin(), values.end());
  }
  if (i < contents_.size() && contents_[i] != nullptr) return *contents_[i];
  const SymbolicShape* list = shape(i);
  if (list == nullptr || list->size() != 1 || !list->front().known() || list->front().value > 64) {
    return std::nullopt;
  }
  return SymbolicInts(static_cast<size_t>(list->front().value));
}

const OperatorSchema* find_operator(std::string_view op) {
  const auto& rows = table();
  const auto found = std::lower_bound(
      rows.begin(), rows.end(), op,
      [](const OperatorSchema* row, std::string_view name) { return row->name < name; });
  return found != rows.end() && (*found)->name == op ? *found : nullptr;
}

const OperatorSchema& require_operator(const Node& node) {
  const OperatorSchema* schema = find_operator(node.op);
  if (schema == nullptr) {
    throw Error("unknown operator '" + node.op + "'", "node '" + node.name + "'",
                "the nearest known operator is " + std::string(nearest_operator(node.op)));
  }
  return *schema;
}

std::vector<const OperatorSchema*> all_operators() {
  return table();
}

std::string_view nearest_operator(std::string_view op) {
  // A hostile name may be megabytes long; no operator's is.
  op = op.substr(0, 64);
  const auto& rows = table();
  const auto nearest = std::min_element(
      rows.begin(), rows.end(), [&](const OperatorSchema* a, const OperatorSchema* b) {
        return edit_distance(op, a->name) < edit_distance(op, b->name);
      });
  return nearest == rows.end() ? std::string_view{} : (*nearest)->name;
}

bool shapes_known(const Graph& graph, const Node& node) {
  const auto known = [&](ValueId id) {
    if (id == kNoValue) return true;
    const auto& shape = graph.value(id).shape;
    return shape && concrete(*shape);
  };
  return std::all_of(node.inputs.begin(), node.inputs.end(), known) &&
         std::all_of(node.outputs.begin(), node.outputs.end(), known);
}

Cost cost_of(const Graph& graph, const Node& node) {
  const OperatorSchema& schema = require_operator(node);
  const std::vector<const Value*> inputs = values_of(graph, node.inputs);
  const std::vector<const Value*> outputs = values_of(graph, node.outputs);
  for (const auto& values : {inputs, outputs}) {
    for (const Value* value : values) {
      if (value != nullptr && (!value->shape || !concrete(*value->shape))) {
        throw Error("the cost needs the shape of '" + value->name + "'",
                    node.op + " node '" + node.name + "'", "give all input shapes");
      }
    }
  }
  if (schema.cost != nullptr) return schema.cost(node, inputs, outputs);
  Cost cost;
  for (const Value* output : outputs) {
    if (output != nullptr) cost.ops += element_count(*concrete(*output->shape));
  }
  return cost;
}

}  // namespace ounce
