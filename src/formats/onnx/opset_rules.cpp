#include "formats/onnx/opset_rules.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "graph/error.h"
#include "graph/operator.h"

namespace ounce::formats {
namespace {

/// An attribute that opset `since` introduced, and the value older opsets imply (none: any value
/// needs the newer opset).
struct NewAttribute {
  std::string_view op;
  std::string_view name;
  int since;
  std::variant<std::monostate, int64_t, std::string_view> implied;
};

constexpr std::array kNewAttributes = {
    NewAttribute{"AveragePool", "dilations", 19, {}},
    NewAttribute{"BatchNormalization", "training_mode", 14, int64_t{0}},
    NewAttribute{"Cast", "saturate", 19, int64_t{1}},
    NewAttribute{"DequantizeLinear", "block_size", 21, int64_t{0}},
    NewAttribute{"QuantizeLinear", "block_size", 21, int64_t{0}},
    NewAttribute{"QuantizeLinear", "output_dtype", 21, int64_t{0}},
    NewAttribute{"QuantizeLinear", "saturate", 19, int64_t{1}},
    NewAttribute{"Reshape", "allowzero", 14, int64_t{0}},
    NewAttribute{"Resize", "antialias", 18, int64_t{0}},
    NewAttribute{"Resize", "axes", 18, {}},
    NewAttribute{"Resize", "keep_aspect_ratio_policy", 18, std::string_view("stretch")},
    NewAttribute{"RoiAlign", "coordinate_transformation_mode", 16,
                 std::string_view("output_half_pixel")},
    NewAttribute{"ScatterElements", "reduction", 16, std::string_view("none")},
    NewAttribute{"ScatterND", "reduction", 16, std::string_view("none")},
    NewAttribute{"Shape", "end", 15, {}},
    NewAttribute{"Shape", "start", 15, int64_t{0}},
};

bool is_implied(const NewAttribute& rule, const AttributeMap& attributes) {
  if (const auto* number = std::get_if<int64_t>(&rule.implied)) {
    return attributes.get_int(rule.name, *number) == *number;
  }
  if (const auto* text = std::get_if<std::string_view>(&rule.implied)) {
    return attributes.get_string(rule.name, *text) == *text;
  }
  return false;
}

/// The reductions whose axes became an input with opset 18. (ReduceSum did with 13.)
bool reduces_with_late_axes(std::string_view op) {
  return op.starts_with("Reduce") && op != "ReduceSum";
}

DType input_dtype(const Graph& graph, const Node& node, size_t index) {
  const ValueId id = node.input(index);
  return id == kNoValue ? DType::undefined : graph.value(id).dtype;
}

int reduction_opset(const Graph& graph, const Node& node) {
  const ValueId axes = node.input(1);
  if (axes == kNoValue) {
    return node.attributes.get_int("noop_with_empty_axes", 0) == 0 ? kLowestWrittenOpset : 18;
  }
  const Tensor* constant = graph.constant(axes);
  // An empty list means "all" or "none" depending on a flag that attributes cannot carry.
  return constant != nullptr && constant->size() > 0 ? kLowestWrittenOpset : 18;
}

/// Without sizes, older opsets can split only into equal parts.
int split_opset(const Graph& graph, const Node& node) {
  if (node.input(1) != kNoValue) return kLowestWrittenOpset;
  const ValueId id = node.input(0);
  if (id == kNoValue || !graph.value(id).shape) return 18;
  const SymbolicShape& shape = *graph.value(id).shape;
  const auto rank = static_cast<int64_t>(shape.size());
  const int64_t axis = node.attributes.get_int("axis", 0);
  if (axis < -rank || axis >= rank) return 18;
  const Dim& dim = shape[static_cast<size_t>(axis < 0 ? axis + rank : axis)];
  const auto parts = static_cast<int64_t>(node.outputs.size());
  return dim.known() && parts > 0 && dim.value % parts == 0 ? kLowestWrittenOpset : 18;
}

int pad_opset(const Node& node) {
  if (node.attributes.get_string("mode", "constant") == "wrap") return 19;
  return node.input(3) != kNoValue ? 18 : kLowestWrittenOpset;
}

int resize_opset(const Node& node) {
  const std::string mode =
      node.attributes.get_string("coordinate_transformation_mode", "half_pixel");
  return mode == "half_pixel_symmetric" ? 19 : kLowestWrittenOpset;
}

int quantize_opset(const Graph& graph, const Node& node) {
  int opset = kLowestWrittenOpset;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const DType dtype = input_dtype(graph, node, i);
    if (dtype == DType::f16 || dtype == DType::bf16) opset = std::max(opset, 19);
    if (is_packed(dtype) || dtype == DType::i16 || dtype == DType::u16) opset = 21;
  }
  return opset;
}

int scatter_opset(const Node& node) {
  const std::string reduction = node.attributes.get_string("reduction", "none");
  return reduction == "min" || reduction == "max" ? 18 : kLowestWrittenOpset;
}

/// Opset 16 knows the sampling of pictures, opset 20 that of volumes.
int grid_sample_opset(const Graph& graph, const Node& node) {
  const ValueId id = node.input(0);
  const bool picture =
      id != kNoValue && graph.value(id).shape && graph.value(id).shape->size() == 4;
  return picture ? 16 : 20;
}

int arithmetic_opset(const Graph& graph, const Node& node) {
  const DType dtype = input_dtype(graph, node, 0);
  const bool narrow = is_integer(dtype) && bits_of(dtype) < 32;
  return narrow || dtype == DType::bf16 ? 14 : kLowestWrittenOpset;
}

/// What follows from inputs and types, for operators that have more than one form; nullopt: the
/// operator table knows.
std::optional<int> form_opset(const Graph& graph, const Node& node) {
  const std::string_view op = node.op;
  if (reduces_with_late_axes(op)) return reduction_opset(graph, node);
  if (op == "Split") return split_opset(graph, node);
  if (op == "Pad") return pad_opset(node);
  if (op == "Resize") return resize_opset(node);
  if (op == "QuantizeLinear" || op == "DequantizeLinear") return quantize_opset(graph, node);
  if (op == "ScatterElements" || op == "ScatterND") return scatter_opset(node);
  if (op == "GridSample") return grid_sample_opset(graph, node);
  if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div" || op == "Relu") {
    return arithmetic_opset(graph, node);
  }
  static constexpr std::array<std::string_view, 8> kUnchanged = {
      "AveragePool", "BatchNormalization", "Cast", "Reshape", "RoiAlign", "Shape",
      "CumSum",      "ReduceSum"};
  const bool unchanged = std::find(kUnchanged.begin(), kUnchanged.end(), op) != kUnchanged.end();
  return unchanged ? std::optional(kLowestWrittenOpset) : std::nullopt;
}

void axes_to_attribute(const Graph& graph, Node& node) {
  node.attributes.erase("noop_with_empty_axes");
  if (const Tensor* axes = graph.constant(node.input(1))) {
    node.attributes.set("axes", axes->to_i64());
  }
  node.inputs.resize(1);
}

void rename_grid_modes(Node& node) {
  const std::string mode = node.attributes.get_string("mode", "linear");
  if (mode == "linear") node.attributes.set("mode", std::string("bilinear"));
  if (mode == "cubic") node.attributes.set("mode", std::string("bicubic"));
}

}  // namespace

int required_opset(const Graph& graph, const Node& node) {
  const OperatorSchema* schema = find_operator(node.op);
  if (schema == nullptr || !schema->domain.empty()) {
    throw Error("the operator '" + node.op + "' has no ONNX form", "node '" + node.name + "'");
  }
  int opset = form_opset(graph, node).value_or(schema->since_opset);
  for (const NewAttribute& rule : kNewAttributes) {
    if (rule.op != node.op || !node.attributes.has(rule.name)) continue;
    if (!is_implied(rule, node.attributes)) opset = std::max(opset, rule.since);
  }
  return std::max(opset, kLowestWrittenOpset);
}

void lower_to_opset(const Graph& graph, Node& node, int opset) {
  if (opset < 18 && reduces_with_late_axes(node.op)) axes_to_attribute(graph, node);
  if (opset < 18 && node.op == "Split") node.attributes.erase("num_outputs");
  if (opset < 20 && node.op == "GridSample") rename_grid_modes(node);
  // From opset 18 on a Split states either the sizes or their number.
  if (opset >= 18 && node.op == "Split" && node.input(1) != kNoValue) {
    node.attributes.erase("num_outputs");
  }
  for (const NewAttribute& rule : kNewAttributes) {
    if (rule.op == node.op && opset < rule.since) node.attributes.erase(rule.name);
  }
}

}  // namespace ounce::formats
