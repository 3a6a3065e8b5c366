#pragma once

#include <span>

#include "engine/session.h"
#include "formats/onnx/onnx.h"
#include "graph/passes/passes.h"
#include "tests/graph/equivalence.h"
#include "tests/support/test_data.h"
#include "train/module.h"
#include "train/tensor.h"

namespace ounce::testing {

/// The network's ONNX file is one the engine sees the same operators in, and computes the same
/// from.
inline void expect_same_from_onnx(const Graph& frozen, std::span<const Tensor> inputs,
                                  const Tensor& logits) {
  const TemporaryFolder folder;
  formats::write_onnx(frozen, folder.path() / "frozen.onnx");
  const Graph read = formats::read_onnx(folder.path() / "frozen.onnx");
  const auto counts = [](Graph graph) {
    optimize(graph, engine::reference::evaluator());
    return operator_counts(graph);
  };
  EXPECT_EQ(counts(read), counts(frozen));
  engine::Session session(read);
  EXPECT_TRUE(session.run(inputs).at(0).identical_to(logits));
}

/// How far the engine's logits of pictures are from others.
struct Parity {
  int64_t other_class = 0;  // pictures
  int64_t off = 0;          // pictures with a logit off by more than 1e-3 of the range of logits
};

inline Parity parity_of(const at::Tensor& logits, const at::Tensor& expected) {
  const at::Tensor range = expected.max() - expected.min();
  const at::Tensor off = (logits - expected).abs().amax(1).gt(1e-3 * range);
  return {logits.argmax(1).ne(expected.argmax(1)).sum().item<int64_t>(), off.sum().item<int64_t>()};
}

/// The engine's logits of a frozen network, which are those of its ONNX file.
inline at::Tensor logits_of(const Graph& frozen, const at::Tensor& pictures) {
  engine::Session session(frozen);
  const Tensor inputs[] = {train::from_torch(pictures)};
  const Tensor logits = session.run(inputs).at(0);
  expect_same_from_onnx(frozen, inputs, logits);
  return train::to_torch(logits).clone();
}

/// The trainer's logits of a frozen network in f64, where sums of products of codes are exact.
inline at::Tensor exact_logits_of(const Graph& frozen, const at::Tensor& pictures) {
  train::Module module(frozen);
  module.to_double();
  module.set_training(false);
  return module(pictures.to(at::kDouble)).detach();
}

}  // namespace ounce::testing
