#pragma once

#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "formats/onnx/onnx.h"
#include "onnx/onnx.pb.h"

namespace ounce::formats {

/// Builds ONNX messages by hand, so that tests can say exactly what a file contains.
class OnnxModel {
 public:
  explicit OnnxModel(int opset = 17) {
    proto.set_ir_version(8);
    proto.add_opset_import()->set_version(opset);
    proto.mutable_graph()->set_name("test");
  }

  onnx::GraphProto& graph() { return *proto.mutable_graph(); }

  /// A negative dimension is left unknown.
  OnnxModel& input(const std::string& name, const std::vector<int64_t>& dims, int type = 1) {
    declare(*graph().add_input(), name, dims, type);
    return *this;
  }
  OnnxModel& output(const std::string& name, const std::vector<int64_t>& dims, int type = 1) {
    declare(*graph().add_output(), name, dims, type);
    return *this;
  }

  onnx::NodeProto& node(const std::string& op, std::initializer_list<const char*> inputs,
                        std::initializer_list<const char*> outputs) {
    auto* node = graph().add_node();
    node->set_op_type(op);
    node->set_name("the_" + op);
    for (const char* name : inputs) node->add_input(name);
    for (const char* name : outputs) node->add_output(name);
    return *node;
  }

  onnx::TensorProto& tensor(const std::string& name, int type, const std::vector<int64_t>& dims) {
    auto* tensor = graph().add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (const int64_t dim : dims) tensor->add_dims(dim);
    return *tensor;
  }
  OnnxModel& floats(const std::string& name, const std::vector<int64_t>& dims,
                    const std::vector<float>& values) {
    auto& target = tensor(name, 1, dims);
    for (const float value : values) target.add_float_data(value);
    return *this;
  }
  OnnxModel& ints(const std::string& name, const std::vector<int64_t>& values) {
    auto& target = tensor(name, 7, {static_cast<int64_t>(values.size())});
    for (const int64_t value : values) target.add_int64_data(value);
    return *this;
  }

  static void set(onnx::NodeProto& node, const std::string& name, int64_t value) {
    auto* attribute = node.add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(value);
  }
  static void set(onnx::NodeProto& node, const std::string& name, float value) {
    auto* attribute = node.add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::FLOAT);
    attribute->set_f(value);
  }
  static void set(onnx::NodeProto& node, const std::string& name, const char* value) {
    auto* attribute = node.add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::STRING);
    attribute->set_s(value);
  }
  static void set(onnx::NodeProto& node, const std::string& name,
                  const std::vector<int64_t>& values) {
    auto* attribute = node.add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INTS);
    for (const int64_t value : values) attribute->add_ints(value);
  }
  static void set(onnx::NodeProto& node, const std::string& name,
                  const std::vector<float>& values) {
    auto* attribute = node.add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::FLOATS);
    for (const float value : values) attribute->add_floats(value);
  }

  std::string bytes() const { return proto.SerializeAsString(); }
  Graph read(const std::filesystem::path& folder = {}) const {
    const std::string text = bytes();
    return read_onnx_bytes(std::as_bytes(std::span(text.data(), text.size())), folder);
  }

  onnx::ModelProto proto;

 private:
  static void declare(onnx::ValueInfoProto& info, const std::string& name,
                      const std::vector<int64_t>& dims, int type) {
    info.set_name(name);
    auto* tensor = info.mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    auto* shape = tensor->mutable_shape();
    for (const int64_t dim : dims) {
      auto* target = shape->add_dim();
      if (dim >= 0) target->set_dim_value(dim);
    }
  }
};

/// A model of one operator on "x" that gives "y", to be completed with attributes.
inline OnnxModel one_node_model(int opset, const std::string& op,
                                const std::vector<int64_t>& input_dims,
                                std::initializer_list<const char*> inputs = {"x"}) {
  OnnxModel model(opset);
  model.input("x", input_dims).output("y", std::vector<int64_t>(input_dims.size(), -1));
  model.node(op, inputs, {"y"});
  return model;
}

}  // namespace ounce::formats
