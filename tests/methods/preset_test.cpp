#include "methods/preset.h"

#include <gtest/gtest.h>

#include "tests/quantize/graphs.h"

namespace ounce::methods {
namespace {

Request bits(int weights, int activations) {
  Request request;
  request.weight_bits = weights;
  request.activation_bits = activations;
  return request;
}

std::map<std::string, std::string> chosen(Preset preset, const Graph& graph,
                                          const Request& request) {
  return preset_choice(preset, graph, request, macs_of_run(graph), 128).options;
}

TEST(Preset, follows_family_and_bits) {
  const Graph vit = quantize::testing::vit_block();
  const Graph cnn = quantize::testing::relu_network();
  EXPECT_EQ(chosen(Preset::kBest, vit, bits(8, 8)),
            (std::map<std::string, std::string>{{"norms", "smooth"}}));
  EXPECT_TRUE(chosen(Preset::kBest, cnn, bits(8, 8)).empty());
  EXPECT_EQ(chosen(Preset::kFast, vit, bits(4, 4)),
            (std::map<std::string, std::string>{
                {"keep-ends8", "on"}, {"norms", "repq"}, {"rounding", "gptq"}}));
  const auto learned = chosen(Preset::kGood, vit, bits(4, 4));
  EXPECT_EQ(learned.at("rounding"), "straight-through");
  EXPECT_EQ(learned.at("tuning-loss"), "fisher");
  EXPECT_EQ(learned.at("range-loss"), "fisher");
  EXPECT_EQ(chosen(Preset::kGood, vit, bits(3, 8)).at("rounding"), "straight-through");
  EXPECT_EQ(
      chosen(Preset::kGood, vit, bits(4, 8)),
      (std::map<std::string, std::string>{
          {"keep-ends8", "on"}, {"norms", "repq"}, {"rounding", "gptq"}, {"weight-range", "mse"}}));
  EXPECT_EQ(chosen(Preset::kGood, vit, bits(6, 6)),
            (std::map<std::string, std::string>{{"keep-ends8", "on"},
                                                {"norms", "repq"},
                                                {"range-loss", "fisher"},
                                                {"rounding", "gptq"},
                                                {"weight-range", "mse"}}));
  EXPECT_FALSE(chosen(Preset::kGood, cnn, bits(4, 4)).contains("tuning-loss"));
  EXPECT_EQ(chosen(Preset::kGood, cnn, bits(4, 4)).at("range-loss"), "fisher");
  EXPECT_FALSE(chosen(Preset::kGood, cnn, bits(4, 8)).contains("range-loss"));
  EXPECT_EQ(chosen(Preset::kGood, cnn, bits(6, 6)),
            (std::map<std::string, std::string>{{"keep-ends8", "on"}, {"range-loss", "fisher"}}));
  EXPECT_EQ(chosen(Preset::kGood, cnn, bits(4, 8)).at("rounding"), "brecq");
  EXPECT_EQ(chosen(Preset::kGood, cnn, bits(4, 4)).at("rounding"), "straight-through");
  EXPECT_EQ(chosen(Preset::kGood, cnn, bits(4, 0)).at("rounding"), "gptq");
  EXPECT_TRUE(chosen(Preset::kBest, cnn, bits(1, 1)).empty());
}

TEST(Preset, networks_of_one_large_block_learn_layer_by_layer) {
  quantize::testing::Builder b;
  const ValueId image = b.input("image", {1, 4, 8, 8});
  ValueId x = image;
  for (int i = 0; i < 20; ++i)
    x = b.silu(b.conv(x, 4, 4, 3, "conv" + std::to_string(i)), "act" + std::to_string(i));
  const Graph skipping = b.finish({b.op("Add", {x, image}, "sum")});
  for (const int activations : {4, 8}) {
    const auto options = chosen(Preset::kGood, skipping, bits(4, activations));
    EXPECT_EQ(options.at("rounding"), "adaround");
    EXPECT_EQ(options.at("weight-range"), "mse");
    EXPECT_FALSE(options.contains("range-loss"));
  }
  // No chain at all: nothing to learn by.
  Graph two = quantize::testing::detector_tail();
  EXPECT_EQ(chosen(Preset::kGood, two, bits(4, 4)).at("rounding"), "gptq");
}

TEST(Preset, softmax_maps_of_few_bits_are_logarithmic_in_transformers) {
  const Graph vit = quantize::testing::vit_block();
  const auto softmax = [&](int activations) {
    return preset_choice(Preset::kGood, vit, bits(4, activations), 1, 128).softmax;
  };
  EXPECT_EQ(softmax(4), quantize::SoftmaxCodes::kLogSqrt2);
  EXPECT_EQ(softmax(6), quantize::SoftmaxCodes::kUniform);
}

TEST(Preset, steps_fit_the_time_and_the_network) {
  const Graph vit = quantize::testing::vit_block();
  const auto steps = [&](Preset preset, int64_t macs) {
    return std::stol(preset_choice(preset, vit, bits(4, 4), macs, 1024).options.at("tuning-steps"));
  };
  constexpr int64_t kVitTiny = 1'260'000'000;
  EXPECT_GT(steps(Preset::kBest, kVitTiny), 3 * steps(Preset::kGood, kVitTiny));
  EXPECT_GT(steps(Preset::kGood, kVitTiny), steps(Preset::kGood, 10 * kVitTiny));
  // Ten pictures bear few steps, whatever the time.
  EXPECT_FALSE(
      preset_choice(Preset::kBest, vit, bits(4, 4), kVitTiny, 10).options.contains("tuning-steps"));
  EXPECT_GT(macs_of_run(vit), 0);
}

TEST(Preset, every_choice_is_options_that_methods_have) {
  for (const Graph& graph : {quantize::testing::vit_block(), quantize::testing::relu_network()}) {
    for (const Preset preset : {Preset::kFast, Preset::kGood, Preset::kBest}) {
      for (const int weights : {1, 2, 4, 8}) {
        for (const int activations : {0, 1, 4, 8}) {
          Request request = bits(weights, activations);
          const PresetChoice choice = preset_choice(preset, graph, request, 1000, 128);
          request.options = choice.options;
          for (const Method& method : all_methods()) configure(method, request);
          EXPECT_FALSE(flags_text(choice).empty());
        }
      }
    }
  }
}

TEST(Preset, names) {
  EXPECT_EQ(preset_from_name("good"), Preset::kGood);
  EXPECT_FALSE(preset_from_name("better").has_value());
}

}  // namespace
}  // namespace ounce::methods
