#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/session.h"
#include "graph/operator.h"
#include "tests/methods_trained/small_training.h"
#include "train/freeze.h"
#include "train/tensor.h"

namespace ounce::testing {

inline at::Tensor random(at::IntArrayRef shape, int64_t seed, at::ScalarType type = at::kFloat) {
  at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  return at::randn(shape, generator, type);
}

// --- One attention: 2 pictures, 3 heads, 5 tokens, 8 features ---

enum class Output { kScores, kMix };

inline Graph one_attention(Output output) {
  Graph graph;
  graph.name = "attention";
  const SymbolicShape shape = {Dim("batch"), Dim(3), Dim(5), Dim(8)};
  const ValueId q = graph.add_input("q", DType::f32, shape);
  const ValueId k = graph.add_input("k", DType::f32, shape);
  const ValueId v = graph.add_input("v", DType::f32, shape);
  const ValueId half = graph.add_constant("half", Tensor::scalar(0.5F));
  AttributeMap perm;
  perm.set("perm", std::vector<int64_t>{0, 1, 3, 2});
  const ValueId kt = graph.add_node("Transpose", {k}, perm, "kt");
  const ValueId scores =
      graph.add_node("MatMul", {graph.add_node("Mul", {half, q}, {}, "scaled"), kt}, {}, "scores");
  const ValueId map = graph.add_node("Softmax", {scores}, {}, "map");
  const ValueId mix = graph.add_node("MatMul", {map, v}, {}, "mix");
  graph.outputs = {mix};
  if (output == Output::kScores) graph.outputs.insert(graph.outputs.begin(), scores);
  infer_shapes(graph);
  return graph;
}

/// Queries, keys and values for it.
inline std::vector<at::Tensor> operands() {
  return {random({2, 3, 5, 8}, 1) + 0.7, random({2, 3, 5, 8}, 2) - 0.4, random({2, 3, 5, 8}, 3)};
}

// --- Codes in the engine ---

/// The first output in the engine, and the largest deviation from `module` over its largest output.
inline double deviation(train::Module& module, const std::vector<at::Tensor>& inputs) {
  module.set_training(false);
  const at::Tensor expected = module.forward(inputs).outputs.at(0).detach();
  engine::Session session(train::freeze(module));
  std::vector<Tensor> tensors;
  for (const at::Tensor& input : inputs) tensors.push_back(train::from_torch(input));
  const at::Tensor actual = train::to_torch(session.run(tensors).at(0));
  return ((actual - expected).abs().max() / expected.abs().max()).item<double>();
}

inline void expect_integer_products(const Graph& frozen) {
  for (const engine::IntegerSupport& node : engine::integer_support(frozen)) {
    if (node.op != "MatMul" && node.op != "Gemm" && node.op != "Conv") continue;
    EXPECT_TRUE(node.integer) << node.node << ": " << node.reason;
  }
}

// --- A small DeiT ---

inline Graph small_deit() {
  return models::vit("small",
                     {.image = 16,
                      .classes = 4,
                      .patch = 4,
                      .width = 32,
                      .depth = 2,
                      .heads = 4,
                      .distilled = true,
                      .zero_biases = true},
                     3);
}

inline train::TrainerOptions adamw(int64_t epochs) {
  train::TrainerOptions options = small_options(epochs, 2e-3);
  options.optimizer.kind = train::OptimizerKind::kAdamW;
  return options;
}

/// The float network, trained once for all tests.
inline const Graph& trained_teacher() {
  static const Graph kGraph = [] {
    at::manual_seed(1);
    train::Module module(small_deit());
    EXPECT_TRUE(train_on_pictures(module, adamw(8)));
    return module.graph();
  }();
  return kGraph;
}

/// A stage of the method on the trained network, or on what an earlier stage made of it; the
/// trained network is the teacher.
inline train::Module trained_student(methods::TrainedMethod& method, int64_t epochs,
                                     const Graph& network = trained_teacher()) {
  at::manual_seed(2);
  const train::Student student = method.student(network);
  train::Module module(student.graph, student.quantizers);
  train::Module teacher(trained_teacher());
  teacher.freeze_parameters();
  EXPECT_TRUE(train_on_pictures(module, adamw(epochs), &method, nullptr, &teacher));
  return module;
}

}  // namespace ounce::testing
