#include "tests/conformance/suite.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <tuple>

#include "formats/onnx/onnx.h"
#include "graph/error.h"
#include "graph/operator.h"
#include "onnx/onnx.pb.h"
#include "tests/support/test_data.h"

namespace ounce::testing {
namespace {

namespace fs = std::filesystem;

onnx::ModelProto parse_model(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  onnx::ModelProto model;
  if (!model.ParseFromIstream(&file)) throw Error("not an ONNX model", path.string());
  return model;
}

/// Newer types than the message schema knows have a number only.
std::string type_name(const onnx::TypeProto& type) {
  if (type.has_sequence_type()) return "sequence";
  if (type.has_optional_type()) return "optional";
  const int code = type.tensor_type().elem_type();
  if (code >= 17 && code <= 20) return "float8";
  if (code == onnx::TensorProto::COMPLEX64 || code == onnx::TensorProto::COMPLEX128)
    return "complex";
  if (code == onnx::TensorProto::STRING) return "string";
  return code == 23 ? "float4" : "numeric";
}

ConformanceCase read_case(const std::string& suite, const std::string& part,
                          const fs::path& folder) {
  ConformanceCase test;
  test.suite = suite;
  test.part = part;
  test.name = folder.filename().string().substr(std::string("test_").size());
  test.folder = folder;
  const onnx::ModelProto model = parse_model(folder / "model.onnx");
  for (const onnx::NodeProto& node : model.graph().node()) {
    test.operators.insert(node.op_type());
    if (!node.domain().empty()) test.domains.insert(node.domain());
  }
  for (const auto& input : model.graph().input()) test.types.insert(type_name(input.type()));
  for (const auto& output : model.graph().output()) test.types.insert(type_name(output.type()));
  return test;
}

void read_cases(ConformanceSuite& suite) {
  for (const char* part : {"node", "pytorch-converted", "pytorch-operator", "simple"}) {
    if (!fs::is_directory(suite.folder / part)) continue;
    for (const fs::directory_entry& entry : fs::directory_iterator(suite.folder / part)) {
      if (fs::exists(entry.path() / "model.onnx")) {
        suite.cases.push_back(read_case(suite.version, part, entry.path()));
      }
    }
  }
  std::sort(suite.cases.begin(), suite.cases.end(), [](const auto& a, const auto& b) {
    return std::tie(a.part, a.name) < std::tie(b.part, b.name);
  });
}

ConformanceSuite debian_suite() {
  const char* set = std::getenv("OUNCE_ONNX_TESTDATA");
  ConformanceSuite suite{"1.12", set != nullptr ? set : "/usr/share/libonnx-testdata/data", {}, {}};
  if (fs::is_directory(suite.folder)) {
    read_cases(suite);
  } else {
    suite.absent_because =
        "install libonnx-testdata, or set OUNCE_ONNX_TESTDATA to its data folder";
  }
  return suite;
}

/// `text` as one word for the shell.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

ConformanceSuite archived_suite() {
  static const TemporaryFolder unpacked;  // removed when the program ends
  ConformanceSuite suite{"1.18", unpacked.path(), {}, {}};
  const auto data = data_folder();
  const fs::path archive =
      data.value_or(fs::path()) / "onnx_node_tests" / "onnx_backend_tests_v1.18.0.tar.xz";
  if (!data || !fs::exists(archive)) {
    suite.absent_because = "no onnx_node_tests in the data folder: set OUNCE_DATA";
    return suite;
  }
  const std::string command =
      "tar -xJf " + quoted(archive.string()) + " -C " + quoted(unpacked.path().string());
  if (std::system(command.c_str()) != 0) {
    suite.absent_because = "cannot unpack " + archive.filename().string() + ": install tar and xz";
    return suite;
  }
  read_cases(suite);
  return suite;
}

/// Files prefix_0.pb, prefix_1.pb, ... of a folder.
std::vector<Tensor> read_tensors(const fs::path& folder, const std::string& prefix) {
  std::vector<Tensor> tensors;
  for (int i = 0;; ++i) {
    const fs::path path = folder / (prefix + "_" + std::to_string(i) + ".pb");
    if (!fs::exists(path)) return tensors;
    tensors.push_back(formats::read_tensor_proto(path));
  }
}

/// ONNX 1.12 records bf16 tensors as u16 bit patterns.
Tensor as_dtype(const Tensor& recorded, DType dtype) {
  if (recorded.dtype() != DType::u16 || dtype != DType::bf16) return recorded;
  Tensor tensor(DType::bf16, recorded.shape());
  std::memcpy(tensor.mutable_raw(), recorded.raw(), recorded.bytes());
  return tensor;
}

}  // namespace

const std::vector<ConformanceSuite>& conformance_suites() {
  static const std::vector<ConformanceSuite> suites = {debian_suite(), archived_suite()};
  return suites;
}

/// Node tests state the opset at which their operator last changed, whatever the model's reader
/// supports. Opsets 22 and 23 add operators and element types but change no operator of opset 21;
/// nor did an operator tested below opset 7 change up to there. So the case is read with the
/// nearest supported opset; were this wrong for a case, its outputs would differ.
Graph read_case_model(const ConformanceCase& test) {
  onnx::ModelProto model = parse_model(test.folder / "model.onnx");
  for (auto& import : *model.mutable_opset_import()) {
    if (import.domain().empty() || import.domain() == "ai.onnx") {
      import.set_version(std::clamp<int64_t>(import.version(), 7, 21));
    }
  }
  const std::string bytes = model.SerializeAsString();
  return formats::read_onnx_bytes(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

std::vector<RecordedRun> read_recorded_runs(const ConformanceCase& test) {
  std::vector<RecordedRun> runs;
  for (int i = 0;; ++i) {
    const fs::path folder = test.folder / ("test_data_set_" + std::to_string(i));
    if (!fs::is_directory(folder)) return runs;
    runs.push_back({read_tensors(folder, "input"), read_tensors(folder, "output")});
  }
}

std::vector<Tensor> as_declared(const Graph& graph, const std::vector<ValueId>& values,
                                std::vector<Tensor> recorded) {
  for (size_t i = 0; i < recorded.size() && i < values.size(); ++i) {
    recorded[i] = as_dtype(recorded[i], graph.value(values[i]).dtype);
  }
  return recorded;
}

void follow_recorded_shapes(Graph& graph, const std::vector<Tensor>& inputs) {
  bool contradicts = false;
  for (size_t i = 0; i < inputs.size() && i < graph.inputs.size(); ++i) {
    Value& declared = graph.value(graph.inputs[i]);
    const auto shape = declared.shape ? concrete(*declared.shape) : std::nullopt;
    if (!shape || *shape == inputs[i].shape()) continue;
    declared.shape = symbolic(inputs[i].shape());
    contradicts = true;
  }
  if (contradicts) infer_shapes(graph, {.reset = true});
}

}  // namespace ounce::testing
