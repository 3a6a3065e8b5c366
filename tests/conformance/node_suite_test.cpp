#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <tuple>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "graph/error.h"
#include "tests/conformance/compare.h"
#include "tests/conformance/not_run.h"
#include "tests/conformance/outcomes.h"
#include "tests/conformance/suite.h"

namespace ounce::testing {
namespace {

enum class Executor { reference, session };

constexpr const char* name_of_executor(Executor executor) {
  return executor == Executor::reference ? "reference" : "session";
}

std::vector<Tensor> run_with(Executor executor, const Graph& graph,
                             const std::vector<Tensor>& inputs) {
  if (executor == Executor::reference) return engine::reference::run(graph, inputs);
  return engine::Session(graph).run(inputs);
}

using Parameter = std::tuple<const ConformanceCase*, Executor>;

std::vector<const ConformanceCase*> all_cases() {
  std::vector<const ConformanceCase*> cases;
  for (const ConformanceSuite& suite : conformance_suites()) {
    for (const ConformanceCase& test : suite.cases) cases.push_back(&test);
  }
  return cases;
}

std::string parameter_name(const ::testing::TestParamInfo<Parameter>& info) {
  const auto& [test, executor] = info.param;
  std::string name =
      "onnx" + test->suite + "_" + test->part + "_" + test->name + "_" + name_of_executor(executor);
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

class OnnxNodeCase : public ::testing::TestWithParam<Parameter> {};

TEST_P(OnnxNodeCase, gives_the_recorded_outputs) {
  const auto& [test, executor] = GetParam();
  if (const NotRunRow* row = why_not_run(*test)) GTEST_SKIP() << row->reason;
  try {
    Graph graph = read_case_model(*test);
    const std::vector<RecordedRun> runs = read_recorded_runs(*test);
    ASSERT_FALSE(runs.empty()) << "no recorded run in " << test->folder;
    for (const RecordedRun& recorded : runs) {
      const std::vector<Tensor> inputs = as_declared(graph, graph.inputs, recorded.inputs);
      const std::vector<Tensor> wanted = as_declared(graph, graph.outputs, recorded.outputs);
      follow_recorded_shapes(graph, inputs);
      const std::vector<Tensor> outputs = run_with(executor, graph, inputs);
      ASSERT_EQ(outputs.size(), wanted.size());
      for (size_t i = 0; i < outputs.size(); ++i) {
        EXPECT_TRUE(conforms(outputs[i], wanted[i])) << "output " << i;
      }
    }
  } catch (const Error& error) {
    FAIL() << error.what();
  }
  if (!HasFailure()) note_passed(*test, name_of_executor(executor));
}

INSTANTIATE_TEST_SUITE_P(Conformance, OnnxNodeCase,
                         ::testing::Combine(::testing::ValuesIn(all_cases()),
                                            ::testing::Values(Executor::reference,
                                                              Executor::session)),
                         parameter_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OnnxNodeCase);

TEST(ConformanceSuites, are_all_present) {
  for (const ConformanceSuite& suite : conformance_suites()) {
    if (!suite.absent_because.empty()) {
      GTEST_SKIP() << "ONNX " << suite.version << " not run: " << suite.absent_because;
    }
    EXPECT_GT(suite.cases.size(), 900u) << suite.folder;
  }
}

TEST(NotRunTable, has_no_row_that_speaks_of_no_case_or_of_an_operator_ounce_has) {
  bool complete = true;
  for (const ConformanceSuite& suite : conformance_suites()) {
    complete = complete && suite.absent_because.empty();
  }
  if (!complete) GTEST_SKIP() << "needs all suites, see ConformanceSuites";
  const std::vector<const ConformanceCase*> cases = all_cases();
  for (const NotRunRow& row : not_run_rows()) {
    const bool used = std::any_of(cases.begin(), cases.end(),
                                  [&](const ConformanceCase* test) { return applies(row, *test); });
    EXPECT_TRUE(used) << "no case matches '" << row.pattern << "'";
    const OperatorSchema* schema = row.by == NotRunBy::op ? find_operator(row.pattern) : nullptr;
    EXPECT_FALSE(schema != nullptr && schema->domain.empty())
        << row.pattern << " is in the operator table";
  }
}

/// Writes the page after the last test, when OUNCE_WRITE_CONFORMANCE names it.
class TableWriter : public ::testing::Environment {
 public:
  void TearDown() override {
    if (const char* path = std::getenv("OUNCE_WRITE_CONFORMANCE")) write_conformance_table(path);
  }
};

const auto* const kTableWriter = ::testing::AddGlobalTestEnvironment(new TableWriter);

}  // namespace
}  // namespace ounce::testing
