#include "formats/ounce_file/graph_json.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "graph/error.h"

namespace ounce::formats {
namespace {

// JSON has no NaN and no infinity: those are written as the hexadecimal bits of the f32.
Json float_to_json(float value) {
  if (std::isfinite(value)) return value;
  char text[9] = {};
  std::to_chars(text, text + 8, std::bit_cast<uint32_t>(value), 16);
  return std::string(text);
}

float float_from_json(const Json& json, const std::string& what) {
  if (json.is_number()) return json.get<float>();
  const std::string& text = as_string(json, what);
  uint32_t bits = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, bits, 16);
  if (failure != std::errc() || stop != end) throw Error("not a number: '" + text + "'", what);
  return std::bit_cast<float>(bits);
}

Json shape_to_json(const SymbolicShape& shape) {
  Json list = Json::array();
  for (const Dim& dim : shape) {
    if (dim.known()) {
      list.push_back(dim.value);
    } else {
      list.push_back(dim.symbol.empty() ? Json() : Json(dim.symbol));
    }
  }
  return list;
}

SymbolicShape shape_from_json(const Json& json, const std::string& what) {
  SymbolicShape shape;
  for (const Json& dim : as_array(json, what)) {
    if (dim.is_null()) {
      shape.emplace_back();
    } else if (dim.is_string()) {
      shape.emplace_back(dim.get_ref<const std::string&>());
    } else {
      const int64_t size = as_int(dim, what);
      if (size < 0) throw Error("a dimension is negative", what);
      shape.emplace_back(size);
    }
  }
  return shape;
}

DType dtype_from_json(const Json& json, const std::string& what) {
  const std::string& name = as_string(json, what);
  if (name.empty()) return DType::undefined;
  const std::optional<DType> dtype = dtype_from_name(name);
  if (!dtype) throw Error("element type '" + name + "' is not known", what);
  return *dtype;
}

std::string dtype_to_json(DType dtype) {
  return dtype == DType::undefined ? std::string() : std::string(name_of(dtype));
}

Json value_to_json(const Value& value, const StoreTensor& store) {
  Json json = {{"name", value.name}};
  if (value.is_constant()) {
    json["dtype"] = dtype_to_json(value.constant.dtype());
    json["shape"] = value.constant.shape();
    json["tensor"] = store(value.name, value.constant);
    return json;
  }
  json["dtype"] = dtype_to_json(value.dtype);
  if (value.shape) json["shape"] = shape_to_json(*value.shape);
  return json;
}

Value value_from_json(const Json& json, const FetchTensor& fetch) {
  Value value;
  value.name = as_string(member(json, "name", "value"), "value");
  const std::string what = "value '" + value.name + "'";
  value.dtype = dtype_from_json(member(json, "dtype", what), what);
  if (json.contains("tensor")) {
    if (value.dtype == DType::undefined) throw Error("a constant without an element type", what);
    const Shape shape = as_shape(member(json, "shape", what), what);
    value.constant = fetch(as_string(json["tensor"], what), value.dtype, shape);
    value.shape = symbolic(shape);
  } else if (json.contains("shape")) {
    value.shape = shape_from_json(json["shape"], what);
  }
  return value;
}

/// Writes one attribute as an object with a single member, whose key is the kind.
struct AttributeToJson {
  const std::string& name;
  const StoreTensor& store;

  Json operator()(int64_t value) const { return {{"int", value}}; }
  Json operator()(float value) const { return {{"float", float_to_json(value)}}; }
  Json operator()(const std::string& value) const { return {{"string", value}}; }
  Json operator()(const std::vector<int64_t>& values) const { return {{"ints", values}}; }
  Json operator()(const std::vector<float>& values) const {
    Json list = Json::array();
    for (const float value : values) list.push_back(float_to_json(value));
    return {{"floats", list}};
  }
  Json operator()(const std::vector<std::string>& values) const { return {{"strings", values}}; }
  Json operator()(const Tensor& tensor) const {
    return {{"tensor", store(name, tensor)},
            {"dtype", dtype_to_json(tensor.dtype())},
            {"shape", tensor.shape()}};
  }
};

Attribute attribute_from_json(const Json& json, const FetchTensor& fetch, const std::string& what) {
  as_object(json, what);
  if (json.contains("tensor")) {
    const DType dtype = dtype_from_json(member(json, "dtype", what), what);
    if (dtype == DType::undefined) throw Error("a tensor without an element type", what);
    return fetch(as_string(json["tensor"], what), dtype,
                 as_shape(member(json, "shape", what), what));
  }
  if (json.contains("int")) return as_int(json["int"], what);
  if (json.contains("float")) return float_from_json(json["float"], what);
  if (json.contains("string")) return as_string(json["string"], what);
  if (json.contains("ints")) return as_ints(json["ints"], what);
  if (json.contains("floats")) {
    std::vector<float> values;
    for (const Json& entry : as_array(json["floats"], what)) {
      values.push_back(float_from_json(entry, what));
    }
    return values;
  }
  std::vector<std::string> values;
  for (const Json& entry : as_array(member(json, "strings", what), what)) {
    values.push_back(as_string(entry, what));
  }
  return values;
}

Json node_to_json(const Node& node, const StoreTensor& store) {
  Json json = {
      {"op", node.op}, {"name", node.name}, {"inputs", node.inputs}, {"outputs", node.outputs}};
  if (!node.scope.empty()) json["scope"] = node.scope;
  for (const auto& [name, attribute] : node.attributes.entries()) {
    const std::string stored_name = node.name + "." + name;
    json["attributes"][name] = std::visit(AttributeToJson{stored_name, store}, attribute);
  }
  return json;
}

std::vector<ValueId> ids_from_json(const Json& json, const std::string& what) {
  std::vector<ValueId> ids;
  for (const int64_t id : as_ints(json, what)) {
    if (id < kNoValue || id > std::numeric_limits<ValueId>::max()) {
      throw Error("value number " + std::to_string(id) + " is out of range", what);
    }
    ids.push_back(static_cast<ValueId>(id));
  }
  return ids;
}

Node node_from_json(const Json& json, const FetchTensor& fetch) {
  Node node;
  node.name = as_string(member(json, "name", "node"), "node");
  const std::string what = "node '" + node.name + "'";
  node.op = as_string(member(json, "op", what), what);
  if (json.contains("scope")) node.scope = as_string(json["scope"], what);
  node.inputs = ids_from_json(member(json, "inputs", what), what);
  node.outputs = ids_from_json(member(json, "outputs", what), what);
  if (!json.contains("attributes")) return node;
  for (const auto& [name, attribute] : as_object(json["attributes"], what).items()) {
    node.attributes.set(name,
                        attribute_from_json(attribute, fetch, what + " attribute '" + name + "'"));
  }
  return node;
}

}  // namespace

Json graph_to_json(const Graph& graph, const StoreTensor& store) {
  Json json = {{"name", graph.name},
               {"inputs", graph.inputs},
               {"outputs", graph.outputs},
               {"values", Json::array()},
               {"nodes", Json::array()}};
  for (const Value& value : graph.values) json["values"].push_back(value_to_json(value, store));
  for (const Node& node : graph.nodes) json["nodes"].push_back(node_to_json(node, store));
  return json;
}

Graph graph_from_json(const Json& json, const FetchTensor& fetch) {
  const std::string what = "graph";
  Graph graph;
  graph.name = as_string(member(json, "name", what), what);
  graph.inputs = ids_from_json(member(json, "inputs", what), "graph inputs");
  graph.outputs = ids_from_json(member(json, "outputs", what), "graph outputs");
  for (const Json& value : as_array(member(json, "values", what), what)) {
    graph.values.push_back(value_from_json(value, fetch));
  }
  for (const Json& node : as_array(member(json, "nodes", what), what)) {
    graph.nodes.push_back(node_from_json(node, fetch));
  }
  graph.validate();
  return graph;
}

}  // namespace ounce::formats
