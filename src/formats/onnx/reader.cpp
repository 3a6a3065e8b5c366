#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "formats/onnx/attribute_reader.h"
#include "formats/onnx/graph_builder.h"
#include "formats/onnx/narrow_codes.h"
#include "formats/onnx/onnx.h"
#include "formats/onnx/parts_budget.h"
#include "formats/onnx/scope.h"
#include "formats/onnx/standard.h"
#include "formats/onnx/tensor_proto.h"
#include "formats/onnx/upgrade.h"
#include "formats/ounce_file/located.h"
#include "graph/error.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"

namespace ounce::formats {
namespace {

constexpr int kOldestOpset = 7;
constexpr int kNewestOpset = 21;
// Some 300,000 nodes; the largest networks have tens of thousands.
constexpr size_t kMaxPartsBytes = size_t{256} << 20;

bool is_default_domain(const std::string& domain) {
  return domain.empty() || domain == "ai.onnx";
}

/// Undoes what `write_onnx` does to codes and quantizers that ONNX cannot express: what it wrote
/// runs from the file as it ran before.
void restore_fused(Graph& graph) {
  restore_narrow_codes(graph);
  fuse_dynamic_fake_quant(graph);
  fuse_log_quantize(graph);
  const auto chooses = [](const Node& node) { return node.op == "Where"; };
  if (std::none_of(graph.nodes.begin(), graph.nodes.end(), chooses)) return;
  infer_shapes(graph);  // a scale along an axis must not widen what it scales
  fuse_binarize(graph);
}

/// Turns one parsed model into a Graph, consuming the message as it goes.
class ModelReader {
 public:
  ModelReader(onnx::ModelProto& model, const std::filesystem::path& folder)
      : model_(model), proto_(*model.mutable_graph()), external_(folder) {}

  Graph read() {
    opset_ = find_opset();
    check_functions();
    read_initializers();
    read_inputs();
    for (onnx::NodeProto& node : *proto_.mutable_node()) read_node(node);
    read_outputs();
    read_metadata();
    builder_.finish();
    restore_fused(builder_.graph());
    return std::move(builder_.graph());
  }

 private:
  int find_opset() const {
    int64_t opset = 0;
    for (const auto& import : model_.opset_import()) {
      if (!is_default_domain(import.domain())) continue;
      if (opset != 0 && opset != import.version()) {
        throw Error("the model states two opsets, " + std::to_string(opset) + " and " +
                        std::to_string(import.version()),
                    {}, "export it again");
      }
      opset = import.version();
    }
    if (opset == 0) throw Error("the model states no opset", {}, "export it again");
    if (opset < kOldestOpset || opset > kNewestOpset) {
      throw Error("opset " + std::to_string(opset) + " is not supported", {},
                  "export the model with an opset from 11 to 21");
    }
    return static_cast<int>(opset);
  }

  /// A function of the default domain would give one of its operators another meaning.
  void check_functions() const {
    for (const auto& function : model_.functions()) {
      if (!is_default_domain(function.domain())) continue;
      throw Error("the model redefines the ONNX operator '" + function.name() + "' as a function",
                  {}, "inline the functions of the model first");
    }
  }

  void read_initializers() {
    if (proto_.sparse_initializer_size() > 0) {
      throw Error("sparse initializers are not supported",
                  "tensor '" + proto_.sparse_initializer(0).values().name() + "'",
                  "export the model with dense weights");
    }
    for (onnx::TensorProto& tensor : *proto_.mutable_initializer()) {
      located("tensor '" + tensor.name() + "'",
              [&] { builder_.define_constant(tensor.name(), take_tensor(tensor, external_)); });
    }
  }

  /// Fills dtype and shape of a value from its declaration.
  void declare(Value& value, const onnx::ValueInfoProto& info) const {
    if (!info.type().has_tensor_type()) {
      throw Error("only tensors can go in and out of a model");
    }
    const auto& type = info.type().tensor_type();
    const std::optional<DType> dtype = dtype_from_onnx(type.elem_type());
    if (!dtype) {
      throw Error("element type " + std::to_string(type.elem_type()) + " is not supported");
    }
    value.dtype = *dtype;
    if (!type.has_shape()) return;
    if (static_cast<size_t>(type.shape().dim_size()) > kMaxRank) throw rank_error();
    SymbolicShape shape;
    for (const auto& dim : type.shape().dim()) {
      if (dim.has_dim_value() && dim.dim_value() >= 0) {
        shape.emplace_back(dim.dim_value());
      } else {
        const bool usable = dim.dim_param().size() <= kMaxSymbolLength;
        shape.emplace_back(usable ? dim.dim_param() : std::string());  // unnamed: an unknown size
      }
    }
    value.shape = std::move(shape);
  }

  void read_inputs() {
    for (const onnx::ValueInfoProto& input : proto_.input()) {
      located("input '" + input.name() + "'", [&] {
        const ValueId id = builder_.named(input.name());
        if (id == kNoValue) throw Error("a graph input without a name");
        // Old files list their weights among the inputs.
        if (builder_.graph().value(id).is_constant()) return;
        builder_.define(id);
        declare(builder_.graph().value(id), input);
        builder_.graph().inputs.push_back(id);
      });
    }
  }

  void read_outputs() {
    for (const onnx::ValueInfoProto& output : proto_.output()) {
      located("output '" + output.name() + "'", [&] {
        const ValueId id = builder_.named(output.name());
        if (id == kNoValue) throw Error("a graph output without a name");
        Value& value = builder_.graph().value(id);
        if (value.dtype == DType::undefined || !value.shape) {
          Value declared;
          declare(declared, output);
          value.dtype = declared.dtype;
          if (!value.shape) value.shape = std::move(declared.shape);
        }
        builder_.graph().outputs.push_back(id);
      });
    }
  }

  void read_node(onnx::NodeProto& proto) {
    const std::string name =
        proto.name().empty() && proto.output_size() > 0 ? proto.output(0) : proto.name();
    const std::string place =
        "node '" + name + "' (" + proto.op_type() + ", opset " + std::to_string(opset_) + ")";
    located(place, [&] {
      check_domain(proto);
      AttributeMap attributes = take_attributes(proto, external_);
      if (proto.op_type() == "Constant") return read_constant(proto, attributes);
      Node node;
      node.op = proto.op_type();
      node.name = name;
      node.scope = scope_of(name);
      node.attributes = std::move(attributes);
      for (const std::string& input : proto.input()) node.inputs.push_back(builder_.named(input));
      for (const std::string& output : proto.output()) {
        const ValueId id = builder_.named(output);
        builder_.define(id);
        node.outputs.push_back(id);
      }
      append_upgraded(builder_, std::move(node), opset_);
    });
  }

  void check_domain(const onnx::NodeProto& proto) const {
    if (is_default_domain(proto.domain())) return check_standard_operator(proto.op_type(), opset_);
    throw Error("the operator is of the domain '" + proto.domain() +
                    "', only those of ONNX itself are supported",
                {}, "export the model without custom operators, or inline its functions");
  }

  void read_constant(const onnx::NodeProto& proto, const AttributeMap& attributes) {
    if (proto.output_size() != 1) throw Error("a Constant has one output");
    builder_.define_constant(proto.output(0), constant_value(attributes));
  }

  static Tensor constant_value(const AttributeMap& attributes) {
    if (const Tensor* value = attributes.get_tensor("value")) return *value;
    if (attributes.has("value_float")) {
      return Tensor::scalar(attributes.get_float("value_float", 0.0f));
    }
    if (attributes.has("value_int")) return Tensor::scalar(attributes.get_int("value_int", 0));
    if (attributes.has("value_ints")) return Tensor::of_i64(attributes.get_ints("value_ints"));
    if (attributes.has("value_floats")) {
      const std::vector<float> values = attributes.get_floats("value_floats");
      return Tensor::of(values, {static_cast<int64_t>(values.size())});
    }
    throw Error("the Constant holds neither a tensor nor numbers");
  }

  void read_metadata() {
    Graph& graph = builder_.graph();
    graph.name = proto_.name();
    for (const auto& entry : model_.metadata_props()) graph.metadata[entry.key()] = entry.value();
    if (model_.producer_name().empty()) return;
    const std::string& version = model_.producer_version();
    graph.metadata.try_emplace("producer", version.empty()
                                               ? model_.producer_name()
                                               : model_.producer_name() + " " + version);
  }

  onnx::ModelProto& model_;
  onnx::GraphProto& proto_;
  ExternalData external_;
  GraphBuilder builder_;
  int opset_ = 0;
};

/// Parses a model of at most 2 GB.
void parse(onnx::ModelProto& message, std::span<const std::byte> bytes) {
  if (bytes.empty()) throw Error("the file is empty");
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    throw Error("the file is over 2 GB, which its format cannot express", {},
                "store the weights as external data");
  }
  check_parts(bytes, kMaxPartsBytes);
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    throw Error("not an ONNX file, or cut off", {}, "export or download it again");
  }
}

Graph read_bytes(std::span<const std::byte> bytes, const std::filesystem::path& folder) {
  onnx::ModelProto model;
  parse(model, bytes);
  if (!model.has_graph()) {
    throw Error("not an ONNX model: it holds no graph", {}, "export or download it again");
  }
  return ModelReader(model, folder).read();
}

}  // namespace

Graph read_onnx(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::filesystem::path folder =
      path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  return located(path.string(), [&] { return read_bytes(file->bytes(), folder); });
}

Graph read_onnx_bytes(std::span<const std::byte> bytes,
                      const std::filesystem::path& external_data_folder) {
  return located("ONNX model", [&] { return read_bytes(bytes, external_data_folder); });
}

Tensor read_tensor_proto_bytes(std::span<const std::byte> bytes) {
  onnx::TensorProto proto;
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    throw Error("not a serialized ONNX tensor, or cut off");
  }
  ExternalData none{std::filesystem::path()};
  return take_tensor(proto, none);
}

Tensor read_tensor_proto(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return located(path.string(), [&] { return read_tensor_proto_bytes(file->bytes()); });
}

}  // namespace ounce::formats
