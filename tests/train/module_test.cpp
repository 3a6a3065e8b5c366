#include "train/module.h"

#include <gtest/gtest.h>

#include "graph/error.h"

namespace ounce::train {
namespace {

TEST(Module, names_the_node_whose_operator_cannot_be_trained) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim(2)});
  graph.outputs = {graph.add_node("NonMaxSuppression", {x, x}, {}, "boxes")};
  try {
    const Module module(graph);
    FAIL() << "made";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("node boxes: operator NonMaxSuppression"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace ounce::train
