#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "formats/onnx/narrow_codes.h"
#include "formats/onnx/onnx.h"
#include "formats/onnx/opset_rules.h"
#include "formats/onnx/tensor_proto.h"
#include "formats/ounce_file/atomic_file.h"
#include "graph/error.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"

namespace ounce::formats {
namespace {

// Lets other runtimes map single tensors of the data file with aligned elements.
constexpr uint64_t kDataAlignment = 64;

/// The version of the message format that introduced what the opset uses.
int ir_version_of(int opset) {
  if (opset >= 21) return 10;
  if (opset >= 19) return 9;
  return opset >= 15 ? 8 : 7;
}

/// Types of computed values are needed for the interface and for the choice of the opset.
void infer_missing_types(Graph& graph) {
  const bool complete = std::all_of(graph.values.begin(), graph.values.end(), [](const Value& v) {
    return v.dtype != DType::undefined && v.shape.has_value();
  });
  if (!complete) infer_shapes(graph);
}

size_t constant_bytes(const Graph& graph) {
  size_t bytes = 0;
  for (const Value& value : graph.values) bytes += value.is_constant() ? value.constant.bytes() : 0;
  return bytes;
}

/// The file that weights go to when they do not stay inside the model.
class DataFile {
 public:
  explicit DataFile(const std::filesystem::path& model)
      : name_(model.filename().string() + ".data"), file_(model.parent_path() / name_) {}

  void append(const Tensor& tensor, onnx::TensorProto& proto) {
    file_.pad_to((file_.position() + kDataAlignment - 1) / kDataAlignment * kDataAlignment);
    proto.set_data_location(onnx::TensorProto::EXTERNAL);
    add_entry(proto, "location", name_);
    add_entry(proto, "offset", std::to_string(file_.position()));
    add_entry(proto, "length", std::to_string(tensor.bytes()));
    file_.write(std::span(tensor.raw(), tensor.bytes()));
  }

  void commit() { file_.commit(); }

 private:
  static void add_entry(onnx::TensorProto& proto, const char* key, const std::string& value) {
    auto* entry = proto.add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  }

  std::string name_;
  AtomicFile file_;
};

void set_header(onnx::TensorProto& proto, const Tensor& tensor, const std::string& where) {
  const std::optional<int> type = dtype_to_onnx(tensor.dtype());
  if (!type)
    throw Error("type " + std::string(name_of(tensor.dtype())) + " has no ONNX form", where);
  proto.set_data_type(*type);
  for (const int64_t dim : tensor.shape()) proto.add_dims(dim);
}

void set_inside(onnx::TensorProto& proto, const Tensor& tensor) {
  proto.set_raw_data(tensor.raw(), tensor.bytes());
}

/// Stores one attribute under its ONNX kind.
struct AttributeWriter {
  onnx::AttributeProto& proto;
  const std::string& where;

  void operator()(int64_t value) const {
    proto.set_type(onnx::AttributeProto::INT);
    proto.set_i(value);
  }
  void operator()(float value) const {
    proto.set_type(onnx::AttributeProto::FLOAT);
    proto.set_f(value);
  }
  void operator()(const std::string& value) const {
    proto.set_type(onnx::AttributeProto::STRING);
    proto.set_s(value);
  }
  void operator()(const std::vector<int64_t>& values) const {
    proto.set_type(onnx::AttributeProto::INTS);
    for (const int64_t value : values) proto.add_ints(value);
  }
  void operator()(const std::vector<float>& values) const {
    proto.set_type(onnx::AttributeProto::FLOATS);
    for (const float value : values) proto.add_floats(value);
  }
  void operator()(const std::vector<std::string>& values) const {
    proto.set_type(onnx::AttributeProto::STRINGS);
    for (const std::string& value : values) proto.add_strings(value);
  }
  void operator()(const Tensor& tensor) const {
    proto.set_type(onnx::AttributeProto::TENSOR);
    set_header(*proto.mutable_t(), tensor, where);
    set_inside(*proto.mutable_t(), tensor);
  }
};

/// Builds the message of one graph that is already in its final form.
class ModelWriter {
 public:
  ModelWriter(const Graph& graph, int opset, size_t external_threshold, DataFile* data)
      : graph_(graph), opset_(opset), external_threshold_(external_threshold), data_(data) {}

  onnx::ModelProto write() {
    model_.set_ir_version(ir_version_of(opset_));
    model_.set_producer_name("ounce");
    model_.add_opset_import()->set_version(opset_);
    for (const auto& [key, value] : graph_.metadata) {
      auto* entry = model_.add_metadata_props();
      entry->set_key(key);
      entry->set_value(value);
    }
    onnx::GraphProto& proto = *model_.mutable_graph();
    proto.set_name(graph_.name.empty() ? "graph" : graph_.name);
    for (const ValueId id : graph_.inputs) declare(*proto.add_input(), graph_.value(id));
    for (const ValueId id : graph_.outputs) declare(*proto.add_output(), graph_.value(id));
    for (const Node& node : graph_.nodes) write_node(*proto.add_node(), node);
    write_initializers(proto);
    return std::move(model_);
  }

 private:
  static void declare(onnx::ValueInfoProto& proto, const Value& value) {
    const std::string where = "value '" + value.name + "'";
    const std::optional<int> type = dtype_to_onnx(value.dtype);
    if (!type) throw Error("its element type is unknown or has no ONNX form", where);
    proto.set_name(value.name);
    auto* tensor = proto.mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(*type);
    if (!value.shape) return;
    auto* shape = tensor->mutable_shape();
    for (const Dim& dim : *value.shape) {
      auto* target = shape->add_dim();
      if (dim.known()) target->set_dim_value(dim.value);
      if (!dim.known() && !dim.symbol.empty()) target->set_dim_param(dim.symbol);
    }
  }

  /// Names of operands; trailing omitted ones are left out.
  template <class Add>
  void add_names(const std::vector<ValueId>& ids, Add&& add) const {
    size_t count = ids.size();
    while (count > 0 && ids[count - 1] == kNoValue) --count;
    for (size_t i = 0; i < count; ++i) {
      add(ids[i] == kNoValue ? std::string() : graph_.value(ids[i]).name);
    }
  }

  void write_node(onnx::NodeProto& proto, Node node) const {
    lower_to_opset(graph_, node, opset_);
    const std::string where = "node '" + node.name + "'";
    proto.set_op_type(node.op);
    proto.set_name(node.name);
    add_names(node.inputs, [&](std::string name) { proto.add_input(std::move(name)); });
    add_names(node.outputs, [&](std::string name) { proto.add_output(std::move(name)); });
    for (const auto& [name, value] : node.attributes.entries()) {
      auto* attribute = proto.add_attribute();
      attribute->set_name(name);
      std::visit(AttributeWriter{*attribute, where}, value);
    }
  }

  /// Which constants the written nodes read: axes that became attributes are left out, and so is
  /// what a node of the file computes.
  std::vector<bool> find_initializers(const onnx::GraphProto& proto) const {
    std::vector<bool> wanted(graph_.values.size(), false);
    for (const ValueId id : graph_.outputs) wanted[static_cast<size_t>(id)] = true;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& node = graph_.nodes[n];
      const auto written = static_cast<size_t>(proto.node(static_cast<int>(n)).input_size());
      for (size_t i = 0; i < std::min(written, node.inputs.size()); ++i) {
        if (node.inputs[i] != kNoValue) wanted[static_cast<size_t>(node.inputs[i])] = true;
      }
    }
    for (const Node& node : graph_.nodes) {
      for (const ValueId id : node.outputs) {
        if (id != kNoValue) wanted[static_cast<size_t>(id)] = false;
      }
    }
    for (const ValueId id : graph_.inputs) wanted[static_cast<size_t>(id)] = false;
    return wanted;
  }

  void write_initializers(onnx::GraphProto& proto) {
    const std::vector<bool> wanted = find_initializers(proto);
    for (size_t i = 0; i < graph_.values.size(); ++i) {
      const Value& value = graph_.values[i];
      if (!wanted[i] || !value.is_constant()) continue;
      onnx::TensorProto& tensor = *proto.add_initializer();
      tensor.set_name(value.name);
      set_header(tensor, value.constant, "value '" + value.name + "'");
      if (data_ != nullptr && value.constant.bytes() >= external_threshold_) {
        data_->append(value.constant, tensor);
      } else {
        set_inside(tensor, value.constant);
      }
    }
  }

  const Graph& graph_;
  int opset_;
  size_t external_threshold_;
  DataFile* data_;
  onnx::ModelProto model_;
};

std::string serialize(const onnx::ModelProto& model, const std::filesystem::path& path) {
  std::string bytes;
  if (!model.SerializeToString(&bytes)) {
    throw Error("the model is too large for one ONNX file", path.string(),
                "write the weights as external data");
  }
  return bytes;
}

}  // namespace

int required_opset(const Graph& graph) {
  int opset = kLowestWrittenOpset;
  for (const Node& node : graph.nodes) opset = std::max(opset, required_opset(graph, node));
  return opset;
}

void write_onnx(const Graph& graph, const std::filesystem::path& path,
                const WriteOptions& options) {
  Graph plain = graph;
  expand_fused(plain, options.newest_opset);
  plain.remove_dead();
  widen_narrow_codes(plain);
  infer_missing_types(plain);
  plain.validate();
  const bool external = options.weights == WeightPlacement::external ||
                        (options.weights == WeightPlacement::automatic &&
                         constant_bytes(plain) > options.largest_inside_bytes);
  std::unique_ptr<DataFile> data;
  if (external) data = std::make_unique<DataFile>(path);
  ModelWriter writer(plain, required_opset(plain), options.external_threshold_bytes, data.get());
  const std::string bytes = serialize(writer.write(), path);
  AtomicFile file(path);
  file.write(bytes);
  // Everything is on disk before the first of the two files changes.
  if (data != nullptr) data->commit();
  file.commit();
}

}  // namespace ounce::formats
