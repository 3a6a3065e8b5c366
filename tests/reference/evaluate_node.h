#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/reference/reference.h"

namespace ounce::testing {

/// A node "test" with these attributes and `output_count` outputs.
inline Node make_node(std::string op, AttributeMap attributes = {}, size_t output_count = 1) {
  Node node;
  node.op = std::move(op);
  node.name = "test";
  node.attributes = std::move(attributes);
  for (size_t i = 0; i < output_count; ++i) node.outputs.push_back(static_cast<ValueId>(i));
  return node;
}

inline AttributeMap attributes_of(
    std::initializer_list<std::pair<const char*, Attribute>> entries) {
  AttributeMap attributes;
  for (const auto& [name, value] : entries) attributes.set(name, value);
  return attributes;
}

/// The first output of `op`.
inline Tensor evaluate_one(std::string op, const std::vector<Tensor>& inputs,
                           AttributeMap attributes = {}) {
  return engine::reference::evaluate(make_node(std::move(op), std::move(attributes)), inputs)[0];
}

inline Tensor floats(std::vector<float> values, Shape shape) {
  return Tensor::of(values, std::move(shape));
}

/// Codes of any integer dtype, packed ones included.
inline Tensor codes(DType dtype, std::vector<int64_t> values, Shape shape) {
  return cast(Tensor::of(values, std::move(shape)), dtype);
}

}  // namespace ounce::testing
