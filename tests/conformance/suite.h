#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace ounce::testing {

/// One folder of an ONNX suite: a model with recorded inputs and outputs.
struct ConformanceCase {
  std::string suite;  // version of ONNX that the suite comes from, e.g. "1.12"
  std::string part;   // "node", "simple", "pytorch-converted" or "pytorch-operator"
  std::string name;   // folder name without "test_"
  std::filesystem::path folder;
  std::set<std::string> operators;  // of all nodes, top level
  std::set<std::string> domains;    // of all nodes but the default one
  std::set<std::string> types;      // "float", "string", "sequence", ... of inputs and outputs
};

/// A suite that was looked for.
struct ConformanceSuite {
  std::string version;
  std::filesystem::path folder;
  std::string absent_because;  // empty when it is there
  std::vector<ConformanceCase> cases;
};

/// The suites on this machine, read once: ONNX 1.12 (Debian's libonnx-testdata; another folder in
/// OUNCE_ONNX_TESTDATA) and ONNX 1.18 (an archive in the data folder, unpacked into a temporary
/// folder).
const std::vector<ConformanceSuite>& conformance_suites();

/// The model of a case as a Graph.
Graph read_case_model(const ConformanceCase& test);

struct RecordedRun {
  std::vector<Tensor> inputs;
  std::vector<Tensor> outputs;
};

/// All recorded runs (test_data_set_*) of a case.
std::vector<RecordedRun> read_recorded_runs(const ConformanceCase& test);

/// The recorded tensors with the dtypes that the graph declares for `values`.
std::vector<Tensor> as_declared(const Graph& graph, const std::vector<ValueId>& values,
                                std::vector<Tensor> recorded);

/// A few recordings of ONNX 1.12 have an input of another shape than the model declares (a CastLike
/// target of one element): the model is taken for the shapes that were recorded.
void follow_recorded_shapes(Graph& graph, const std::vector<Tensor>& inputs);

}  // namespace ounce::testing
