#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "graph/error.h"
#include "graph/operator.h"
#include "tests/conformance/compare.h"
#include "tests/conformance/not_run.h"
#include "tests/conformance/suite.h"
#include "tests/train/untrained.h"
#include "train/module.h"
#include "train/tensor.h"

namespace ounce::testing {
namespace {

/// Why libtorch cannot hold a dtype; empty where it can.
std::string_view why_no_tensor(DType dtype) {
  switch (dtype) {
    case DType::u16:
    case DType::u32:
    case DType::u64:
      return "libtorch 1.13 has no unsigned integers but bytes";
    default:
      return "";
  }
}

/// Why libtorch cannot run a graph; empty where it can.
std::string_view why_not_trained(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    if (const UntrainedRow* row = why_untrained(node.op)) return row->reason;
  }
  for (const Value& value : graph.values) {
    if (const std::string_view reason = why_no_tensor(value.dtype); !reason.empty()) return reason;
  }
  return "";
}

/// As recorded: half precision is f32 on libtorch, and codes are floats.
Tensor in_dtype(const at::Tensor& actual, DType dtype) {
  if (actual.scalar_type() != at::kDouble) return cast(train::from_torch(actual), dtype);
  const at::Tensor content = actual.detach().contiguous();
  const std::span<const double> values(content.data_ptr<double>(),
                                       static_cast<size_t>(content.numel()));
  return cast(Tensor::of(values, content.sizes().vec()), dtype);
}

void expect_recorded(const ConformanceCase& test, const Graph& graph) {
  train::Module module(graph);
  module.set_training(false);
  for (const RecordedRun& run : read_recorded_runs(test)) {
    std::vector<at::Tensor> inputs;
    for (const Tensor& input : as_declared(graph, graph.inputs, run.inputs)) {
      inputs.push_back(train::to_torch(input));
    }
    const std::vector<Tensor> wanted = as_declared(graph, graph.outputs, run.outputs);
    const auto outputs = module.forward(inputs).outputs;
    ASSERT_EQ(outputs.size(), wanted.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_TRUE(conforms(in_dtype(outputs[i], wanted[i].dtype()), wanted[i])) << "output " << i;
    }
  }
}

class TrainConformance : public ::testing::TestWithParam<size_t> {};

TEST_P(TrainConformance, gives_the_recorded_outputs) {
  const ConformanceSuite& suite = conformance_suites().at(GetParam());
  if (!suite.absent_because.empty()) GTEST_SKIP() << suite.absent_because;
  int run = 0;
  for (const ConformanceCase& test : suite.cases) {
    if (why_not_run(test) != nullptr) continue;
    SCOPED_TRACE(test.part + '/' + test.name);
    try {
      const Graph graph = read_case_model(test);
      if (!why_not_trained(graph).empty()) continue;
      expect_recorded(test, graph);
      ++run;
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }
  RecordProperty("cases", run);
  EXPECT_GT(run, 700);
}

INSTANTIATE_TEST_SUITE_P(Suites, TrainConformance, ::testing::Values(0, 1));

}  // namespace
}  // namespace ounce::testing
