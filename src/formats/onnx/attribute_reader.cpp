#include "formats/onnx/attribute_reader.h"

#include "graph/error.h"

namespace ounce::formats {
namespace {

using Kind = onnx::AttributeProto;

/// Files of the first format version state no kind; the field that is filled tells.
Kind::AttributeType kind_of(const Kind& attribute) {
  if (attribute.type() != Kind::UNDEFINED) return attribute.type();
  if (attribute.has_f()) return Kind::FLOAT;
  if (attribute.has_i()) return Kind::INT;
  if (attribute.has_s()) return Kind::STRING;
  if (attribute.has_t()) return Kind::TENSOR;
  if (attribute.has_g()) return Kind::GRAPH;
  if (attribute.floats_size() > 0) return Kind::FLOATS;
  if (attribute.ints_size() > 0) return Kind::INTS;
  if (attribute.strings_size() > 0) return Kind::STRINGS;
  return Kind::UNDEFINED;
}

Attribute take_value(Kind& attribute, ExternalData& external) {
  if (!attribute.ref_attr_name().empty()) {
    throw Error("attribute '" + attribute.name() + "' refers to a function's parameter", {},
                "inline the functions of the model first");
  }
  switch (kind_of(attribute)) {
    case Kind::FLOAT:
      return attribute.f();
    case Kind::INT:
      return int64_t{attribute.i()};
    case Kind::STRING:
      return attribute.s();
    case Kind::TENSOR:
      return take_tensor(*attribute.mutable_t(), external);
    case Kind::FLOATS:
      return std::vector<float>(attribute.floats().begin(), attribute.floats().end());
    case Kind::INTS:
      return std::vector<int64_t>(attribute.ints().begin(), attribute.ints().end());
    case Kind::STRINGS:
      return std::vector<std::string>(attribute.strings().begin(), attribute.strings().end());
    case Kind::GRAPH:
    case Kind::GRAPHS:
      throw Error(
          "operators with subgraphs (attribute '" + attribute.name() + "') are not supported", {},
          "export the model without control flow, for a fixed input");
    default:
      throw Error("attribute '" + attribute.name() + "' has a kind that is not supported");
  }
}

}  // namespace

AttributeMap take_attributes(onnx::NodeProto& node, ExternalData& external) {
  AttributeMap attributes;
  for (Kind& attribute : *node.mutable_attribute()) {
    if (attributes.has(attribute.name())) {
      throw Error("attribute '" + attribute.name() + "' appears twice");
    }
    attributes.set(attribute.name(), take_value(attribute, external));
  }
  return attributes;
}

}  // namespace ounce::formats
