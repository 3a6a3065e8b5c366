#pragma once

#include <gtest/gtest.h>

#include <filesystem>

#include "formats/npy.h"
#include "formats/onnx/onnx.h"
#include "graph/passes/passes.h"
#include "tests/graph/equivalence.h"

namespace ounce::testing {

inline constexpr const char* kVitTiny = "vit_tiny_in1k/vit_tiny_patch16_224.onnx";
inline constexpr const char* kYoloxNano = "yolox_nano/yolox_nano.onnx";

inline Graph optimized(Graph graph) {
  optimize(graph, engine::reference::evaluator());
  graph.validate();
  return graph;
}

/// Runs the optimised model, and that with its fused operators expanded again, on the recorded
/// input `expected/<name>/input.npy`; compares with the recorded output. Hundreds of nodes in
/// single precision: 1e-4 of the largest element, the bound of the project.
inline void check_recorded(const std::filesystem::path& data, const char* model, const char* name) {
  const std::filesystem::path recorded = data / "expected" / name;
  const std::vector<Tensor> inputs = {formats::read_npy(recorded / "input.npy")};
  const Tensor expected = formats::read_npy(recorded / "output_0.npy");
  Graph graph = formats::read_onnx(data / model);
  specialize_inputs(graph, std::vector<Shape>{inputs[0].shape()});
  graph = optimized(std::move(graph));
  EXPECT_TRUE(close_to_largest(engine::reference::run(graph, inputs)[0], expected, 1e-4));
  if (expand_fused(graph, 13) == 0) return;
  graph.validate();
  EXPECT_TRUE(close_to_largest(engine::reference::run(graph, inputs)[0], expected, 1e-4));
}

}  // namespace ounce::testing
