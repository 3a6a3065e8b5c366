#include "report/inspection.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "graph/error.h"
#include "graph/operator.h"
#include "report/format.h"
#include "report/table.h"

namespace ounce::report {
namespace {

constexpr size_t kNameWidth = 44;

bool is_quantization_step(const Node& node) {
  return node.op == "QuantizeLinear" || node.op == "DequantizeLinear";
}

/// Scales, zero points and constants that steer an operator are no parameters of the model.
bool is_parameter_input(const Node& node, size_t input) {
  if (is_quantization_step(node)) return input == 0;
  if (node.op == "QLinearConv") return input == 0 || input == 3 || input == 8;
  if (node.op == "QLinearMatMul") return input == 0 || input == 3;
  if (node.op == "ConvInteger" || node.op == "MatMulInteger") return input < 2;
  return node.op != "Resize" && node.op != "Clip" && node.op != "Pad";
}

/// Weights are floats or narrow integers with more than one element; wide integers are shapes,
/// axes and indices.
bool is_parameter_tensor(const Tensor& tensor) {
  if (tensor.size() < 2) return false;
  return is_float(tensor.dtype()) || (is_integer(tensor.dtype()) && bits_of(tensor.dtype()) <= 8);
}

/// Finds the parameters that each node reads, looking through dequantization.
class ParameterFinder {
 public:
  explicit ParameterFinder(const Graph& graph) : graph_(graph), index_(graph) {}

  /// Constants behind the inputs of `node`, in input order.
  std::vector<ValueId> parameters_of(const Node& node) const {
    std::vector<ValueId> found;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!is_parameter_input(node, i)) continue;
      const ValueId source = source_of(node.input(i));
      const Tensor* tensor = graph_.constant(source);
      if (tensor != nullptr && is_parameter_tensor(*tensor)) found.push_back(source);
    }
    return found;
  }

 private:
  ValueId source_of(ValueId id) const {
    if (id == kNoValue || graph_.constant(id) != nullptr) return id;
    const int producer = index_.producer(id);
    if (producer < 0) return id;
    const Node& node = graph_.nodes[static_cast<size_t>(producer)];
    return node.op == "DequantizeLinear" ? node.input(0) : id;
  }

  const Graph& graph_;
  GraphIndex index_;
};

std::string shape_text(const Value& value) {
  return value.shape ? to_string(*value.shape) : std::string("?");
}

PortSummary port(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  return {value.name, std::string(name_of(value.dtype)), shape_text(value)};
}

/// Shape arithmetic that inference has already computed: no layer, and no cost at run time.
bool is_folded(const Graph& graph, const Node& node) {
  return std::all_of(node.outputs.begin(), node.outputs.end(),
                     [&](ValueId id) { return id == kNoValue || graph.value(id).is_constant(); });
}

NodeSummary summarize(const Graph& graph, const Node& node,
                      const std::vector<ValueId>& parameters) {
  NodeSummary row;
  row.name = node.name;
  row.op = node.op;
  if (node.output(0) != kNoValue) row.output_shape = shape_text(graph.value(node.output(0)));
  for (ValueId id : parameters) {
    const Tensor& tensor = *graph.constant(id);
    if (row.weight_dtype.empty()) row.weight_dtype = std::string(name_of(tensor.dtype()));
    row.parameters += tensor.size();
  }
  if (shapes_known(graph, node)) row.macs = cost_of(graph, node).macs;
  return row;
}

std::string dtype_shares(const ModelSummary& summary) {
  std::string shares;
  for (const auto& [dtype, count] : summary.parameters_by_dtype) {
    shares +=
        fmt::format("{}{} {:.1f} %", shares.empty() ? "" : ", ", dtype,
                    100.0 * static_cast<double>(count) / static_cast<double>(summary.parameters));
  }
  return shares;
}

std::string node_table(const ModelSummary& summary) {
  using Align = Table::Align;
  Table table({{"node", Align::left, kNameWidth},
               {"op", Align::left},
               {"output", Align::left},
               {"params", Align::right},
               {"MACs", Align::right},
               {"weights", Align::left}});
  for (const NodeSummary& node : summary.nodes) {
    const bool free = !node.macs || *node.macs == 0;
    table.add_row({node.name, node.op, node.output_shape,
                   node.parameters > 0 ? count_text(node.parameters) : "",
                   free ? (node.macs ? "" : "?") : count_text(*node.macs), node.weight_dtype});
  }
  return table.text();
}

}  // namespace

double ModelSummary::bits_per_parameter() const {
  return parameters > 0
             ? 8.0 * static_cast<double>(parameter_bytes) / static_cast<double>(parameters)
             : 0.0;
}

ModelSummary inspect(const Graph& graph) {
  ModelSummary summary;
  summary.metadata = graph.metadata;
  for (ValueId id : graph.inputs) summary.inputs.push_back(port(graph, id));
  for (ValueId id : graph.outputs) summary.outputs.push_back(port(graph, id));
  const ParameterFinder finder(graph);
  std::set<ValueId> counted;
  int64_t macs = 0;
  bool all_known = true;
  for (const Node& node : graph.nodes) {
    if (is_quantization_step(node) || is_folded(graph, node)) continue;
    const std::vector<ValueId> parameters = finder.parameters_of(node);
    for (ValueId id : parameters) {
      if (!counted.insert(id).second) continue;  // a shared weight counts once
      const Tensor& tensor = *graph.constant(id);
      summary.parameters += tensor.size();
      summary.parameter_bytes += static_cast<int64_t>(tensor.bytes());
      summary.parameters_by_dtype[std::string(name_of(tensor.dtype()))] += tensor.size();
    }
    summary.nodes.push_back(summarize(graph, node, parameters));
    const NodeSummary& row = summary.nodes.back();
    all_known = all_known && (row.macs || row.parameters == 0);
    macs += row.macs.value_or(0);
  }
  if (all_known) summary.macs = macs;
  return summary;
}

Json to_json(const ModelSummary& summary) {
  const auto ports = [](const std::vector<PortSummary>& list) {
    Json json = Json::array();
    for (const PortSummary& one : list) {
      json.push_back({{"name", one.name}, {"dtype", one.dtype}, {"shape", one.shape}});
    }
    return json;
  };
  const auto nullable = [](const std::optional<int64_t>& value) {
    return value ? Json(*value) : Json(nullptr);
  };
  Json json{{"file", summary.file},
            {"file_bytes", summary.file_bytes},
            {"inputs", ports(summary.inputs)},
            {"outputs", ports(summary.outputs)},
            {"parameters", summary.parameters},
            {"parameter_bytes", summary.parameter_bytes},
            {"bits_per_parameter", summary.bits_per_parameter()},
            {"parameters_by_dtype", summary.parameters_by_dtype},
            {"macs", nullable(summary.macs)},
            {"metadata", summary.metadata},
            {"layers", Json::array()}};
  for (const NodeSummary& node : summary.nodes) {
    json["layers"].push_back({{"name", node.name},
                              {"op", node.op},
                              {"output_shape", node.output_shape},
                              {"weight_dtype", node.weight_dtype},
                              {"parameters", node.parameters},
                              {"macs", nullable(node.macs)}});
  }
  return json;
}

std::string text(const ModelSummary& summary) {
  std::string out =
      fmt::format("{}  {}\n", printable(summary.file), bytes_text(summary.file_bytes));
  for (const PortSummary& input : summary.inputs) {
    out += fmt::format("input   {} {} {}\n", printable(input.name), input.dtype, input.shape);
  }
  for (const PortSummary& output : summary.outputs) {
    out += fmt::format("output  {} {} {}\n", printable(output.name), output.dtype, output.shape);
  }
  out += fmt::format("{} parameters in {}, {:.2f} bits each", count_text(summary.parameters),
                     bytes_text(summary.parameter_bytes), summary.bits_per_parameter());
  if (summary.parameters > 0) out += fmt::format(" ({})", dtype_shares(summary));
  out += fmt::format("\n{} multiply-accumulates, {} nodes\n\n",
                     summary.macs ? count_text(*summary.macs) : "unknown", summary.nodes.size());
  return out + node_table(summary);
}

}  // namespace ounce::report
