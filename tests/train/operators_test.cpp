#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "graph/error.h"
#include "graph/operator.h"
#include "tests/train/op_cases.h"
#include "tests/train/untrained.h"
#include "train/op.h"

namespace ounce::testing {
namespace {

constexpr const char* kPage = "docs/operators.md";

/// The case as a graph whose first operand is given at run time.
Graph graph_of(const OpCase& test) {
  Graph graph;
  std::vector<ValueId> operands;
  for (const Tensor& input : test.inputs) {
    if (!input.defined()) {
      operands.push_back(kNoValue);
    } else if (operands.empty()) {
      operands.push_back(graph.add_input("x", input.dtype(), symbolic(input.shape())));
    } else {
      operands.push_back(graph.add_constant("constant", input));
    }
  }
  const ValueId first = graph.add_node(test.op, operands, test.attributes, "node", test.outputs);
  for (size_t i = 0; i < test.outputs; ++i) {
    graph.outputs.push_back(first + static_cast<ValueId>(i));
  }
  return graph;
}

/// Whether the engine runs the case without its reference operators. Views take no step at all; nor
/// does what has no shape before it has run, which no plan holds.
bool runs_on_kernels(const OpCase& test) {
  Graph graph = graph_of(test);
  engine::SessionOptions options;
  options.profile = true;
  engine::Session session(graph, options);
  std::vector<Tensor> inputs;
  if (!test.inputs.empty()) inputs.push_back(test.inputs.front());
  session.run(inputs);
  const auto steps = session.profile();
  infer_shapes(graph);
  const auto& shape = graph.value(graph.outputs.front()).shape;
  if (steps.empty() && !(shape && concrete(*shape))) return false;
  return std::none_of(steps.begin(), steps.end(), [](const engine::StepProfile& step) {
    return step.kernel.starts_with("reference");
  });
}

/// For each operator, whether the engine has a kernel for at least one case.
std::map<std::string, bool> kernels() {
  std::map<std::string, bool> found;
  for (const auto& cases : {trained_cases(), untrained_cases()}) {
    for (const OpCase& test : cases) {
      bool& kernel = found[test.op];
      kernel = kernel || runs_on_kernels(test);
    }
  }
  return found;
}

std::string remark(const OperatorSchema& schema) {
  if (schema.name == "FakeQuant") return "rounds by the quantizer of its node; frozen before use";
  if (schema.name == "Binarize" || schema.name == "DynamicFakeQuant") {
    return "kernel as part of the product behind it";
  }
  if (schema.name == "LogQuantize") return "kernel as part of the attention behind it";
  if (schema.name == "Resize") return "kernel between convolutions, for nearest and whole factors";
  const UntrainedRow* row = why_untrained(schema.name);
  return row == nullptr ? "" : std::string(row->reason);
}

std::string page() {
  const auto mark = [](bool has) { return has ? "yes" : "-"; };
  std::ostringstream text;
  text
      << "# Operators\n\nWritten by `OUNCE_WRITE_OPERATORS=1 test_train`; not edited by hand.\n\n"
         "Who computes what. *Reference*: the naive operators, which every graph can be run with. "
         "*Kernel*: the\nengine has a fast form for at least some operands (or nothing to compute: "
         "a view); everything else\nruns on the reference. *Training*: differentiable on "
         "libtorch. Operators of the domain `ounce` are our\nown: passes make them from pieces of "
         "ONNX graph.\n\n"
         "| operator | domain | reference | kernel | training | remark |\n"
         "| --- | --- | --- | --- | --- | --- |\n";
  const std::map<std::string, bool> kernel = kernels();
  for (const OperatorSchema* schema : all_operators()) {
    const std::string name(schema->name);
    const bool rounding = name == "FakeQuant";
    const bool reference = engine::reference::find_operator_function(name) != nullptr && !rounding;
    const auto found = kernel.find(name);
    text << "| " << name << " | " << (schema->domain.empty() ? "ONNX" : schema->domain) << " | "
         << mark(reference) << " | " << mark(found != kernel.end() && found->second) << " | "
         << mark(rounding || train::find_op(name) != nullptr) << " | " << remark(*schema) << " |\n";
  }
  return text.str();
}

TEST(OperatorTable, stands_in_the_docs_as_the_executors_are) {
  const std::string expected = page();
  if (std::getenv("OUNCE_WRITE_OPERATORS") != nullptr) std::ofstream(kPage) << expected;
  std::ifstream file(kPage);
  const std::string written{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(written, expected) << "run with OUNCE_WRITE_OPERATORS=1 to write " << kPage;
}

TEST(OperatorTable, every_operator_is_trained_or_there_is_a_reason) {
  for (const OperatorSchema* schema : all_operators()) {
    if (schema->name == "FakeQuant") continue;  // a quantizer's
    EXPECT_NE(train::find_op(schema->name) != nullptr, why_untrained(schema->name) != nullptr)
        << schema->name;
  }
  for (const train::OpRow& row : train::all_ops()) {
    EXPECT_NE(find_operator(row.name), nullptr) << row.name;
  }
  for (const UntrainedRow& row : untrained_rows()) {
    EXPECT_NE(find_operator(row.op), nullptr) << row.op;
  }
}

}  // namespace
}  // namespace ounce::testing
