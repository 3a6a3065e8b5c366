#pragma once

#include "tests/methods_trained/small_training.h"
#include "train/freeze.h"
#include "train/insert.h"

namespace ounce::testing {

/// Six binary convolutions of 8, 16 and 32 channels, and two shortcuts of 1x1.
inline Graph small_react_resnet() {
  return models::cifar_resnet(
      "small", {.image = 16, .classes = 4, .width = 8, .blocks = 1, .react = true}, 3);
}

/// That network behind its first stage, "react"; trained once.
inline const Graph& react_network() {
  static const Graph kGraph = [] {
    at::manual_seed(1);
    const auto method = method_of("react");
    const train::Student student = method->student(small_react_resnet());
    train::Module module(student.graph, student.quantizers);
    train_on_pictures(module, small_options(6, 3e-3), method.get());
    return train::without_fake_quant(module.graph());
  }();
  return kGraph;
}

/// `method` on the network of the first stage.
inline train::Module binary_module(methods::TrainedMethod& method) {
  const train::Student student = method.student(react_network());
  return train::Module(student.graph, student.quantizers);
}

/// Learns, and what is deployed are bits that compute the same in both executors.
inline void expect_learns_and_runs_on_bits(const std::string& name, const std::string& toml) {
  SCOPED_TRACE(name + ' ' + toml);
  at::manual_seed(1);
  const auto method = method_of(name, toml);
  train::Module module = binary_module(*method);
  ASSERT_TRUE(train_on_pictures(module, small_options(4, 3e-3), method.get()));
  EXPECT_GT(accuracy_on_pictures(module), 0.8);
  const Graph frozen = train::freeze(module);
  EXPECT_EQ(kernels_named(frozen, "conv_bits"), 6);
  expect_parity(module, frozen, 1);
}

}  // namespace ounce::testing
