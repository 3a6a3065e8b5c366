#include "methods/trained/binary_network.h"

#include <gtest/gtest.h>

#include "tests/methods_trained/small_binary.h"

namespace ounce::methods {
namespace {

using namespace ounce::testing;

std::vector<std::string> names_of(const Graph& graph, const std::vector<train::ProductLayer>& in) {
  std::vector<std::string> names;
  for (const train::ProductLayer& layer : in) {
    names.push_back(graph.nodes[static_cast<size_t>(layer.node)].name);
  }
  return names;
}

TEST(BinaryNetwork, LeavesTheFirstConvolutionShortcutsAndTheClassifier) {
  const Graph graph = small_react_resnet();
  const std::vector<std::string> expected = {"layer1.0.0.conv", "layer1.0.1.conv",
                                             "layer2.0.0.conv", "layer2.0.1.conv",
                                             "layer3.0.0.conv", "layer3.0.1.conv"};
  EXPECT_EQ(names_of(graph, binary_layers(graph)), expected);
  EXPECT_EQ(binary_network(graph, Ends::kFloat).quantizers.size(), 6U);
  // First convolution, two shortcuts, classifier: two quantizers each.
  EXPECT_EQ(binary_network(graph, Ends::kEightBits).quantizers.size(), 14U);
}

TEST(BinaryNetwork, SignsOfWhatIsNeverNegativeAreRefused) {
  const Graph graph =
      models::cifar_resnet("plain", {.image = 16, .classes = 4, .width = 8, .blocks = 1}, 3);
  EXPECT_THROW(binary_network(graph, Ends::kFloat), Error);
}

TEST(React, LearnsSignsBeforeFloatWeights) {
  const auto method = method_of("react");
  train::Module module = binary_module(*method);
  EXPECT_GT(accuracy_on_pictures(module), 0.9);
  expect_parity(module, train::freeze(module), 1);
}

TEST(React, EndsOfEightBitsLeaveNoFloatConvolution) {
  at::manual_seed(1);
  const auto method = method_of("rebnn", "ends = \"w8a8\"");
  train::Module module = binary_module(*method);
  ASSERT_TRUE(train_on_pictures(module, small_options(6, 3e-3), method.get()));
  EXPECT_GT(accuracy_on_pictures(module), 0.8);
  const Graph frozen = train::freeze(module);
  EXPECT_EQ(kernels_named(frozen, "conv_bits"), 6);
  for (const engine::IntegerSupport& layer : engine::integer_support(frozen)) {
    EXPECT_TRUE(layer.integer) << layer.node << ": " << layer.reason;
  }
  expect_parity(module, frozen, 1);
}

TEST(React, UnknownEndsAreAnError) {
  EXPECT_THROW(method_of("react", "ends = \"w4a4\""), Error);
}

}  // namespace
}  // namespace ounce::methods
