#include "methods/method.h"

#include <gtest/gtest.h>

#include <set>

#include "graph/error.h"

namespace ounce::methods {
namespace {

TEST(Methods, every_method_has_a_name_a_summary_and_its_needs) {
  std::set<std::string_view> names;
  for (const Method& method : all_methods()) {
    EXPECT_FALSE(method.summary.empty()) << method.name;
    EXPECT_FALSE(method.needs.empty()) << method.name;
    EXPECT_TRUE(names.insert(method.name).second) << method.name << " twice";
    EXPECT_EQ(&find_method(method.name), &method);
  }
  for (const char* name : {"q-yolo", "minmax", "percentile", "mse", "symmetric-mse", "kl"}) {
    EXPECT_EQ(names.count(name), 1U) << name;
  }
}

TEST(Methods, every_option_accepts_its_fallback) {
  for (const Method& method : all_methods()) {
    Request request;
    for (const MethodOption& option : method.options) {
      request.options[std::string(option.name)] = option.fallback;
    }
    EXPECT_NO_THROW(configure(method, request)) << method.name;
  }
}

TEST(Methods, unknown_names_are_answered_with_what_there_is) {
  try {
    find_method("magic");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.remedy().find("q-yolo"), std::string::npos);
  }
  Request request;
  request.options["colour"] = "red";
  try {
    configure(find_method("q-yolo"), request);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.remedy().find("table-bits"), std::string::npos);
  }
}

TEST(Methods, wrong_values_are_refused) {
  for (const auto& [name, value] : std::map<std::string, std::string>{{"weight-range", "best"},
                                                                      {"granularity", "group:x"},
                                                                      {"bias-correction", "maybe"},
                                                                      {"residual", "none"},
                                                                      {"table-bits", "many"},
                                                                      {"table-bits", "1"}}) {
    Request request;
    request.options[name] = value;
    EXPECT_THROW(configure(find_method("q-yolo"), request), Error) << name << '=' << value;
  }
  for (const int bits : {0, -1, 9}) {
    Request weights;
    weights.weight_bits = bits;
    EXPECT_THROW(configure(find_method("minmax"), weights), Error) << bits;
  }
  Request activations;
  activations.activation_bits = 9;
  EXPECT_THROW(configure(find_method("minmax"), activations), Error);
}

Request bits(int weights, int activations) {
  Request request;
  request.weight_bits = weights;
  request.activation_bits = activations;
  return request;
}

TEST(Methods, every_number_of_bits_can_be_configured) {
  for (const Method& method : all_methods()) {
    for (int weights = 1; weights <= 8; ++weights) {
      for (int activations = 0; activations <= 8; ++activations) {
        const quantize::Options options = configure(method, bits(weights, activations));
        EXPECT_EQ(options.layer.weights.bits, weights);
        EXPECT_EQ(options.layer.float_activations, activations == 0);
        if (activations > 0) {
          EXPECT_EQ(options.layer.activation_bits, activations);
        }
      }
    }
  }
}

TEST(Methods, below_four_bits_the_ends_keep_eight_and_the_guard_is_off) {
  const Method& method = find_method("q-yolo");
  for (const Request& few : {bits(3, 8), bits(8, 2), bits(1, 1), bits(2, 0)}) {
    const quantize::Options options = configure(method, few);
    EXPECT_TRUE(options.keep_ends8);
    EXPECT_EQ(options.least_db_per_bit, 0.0);
  }
  for (const Request& plain : {bits(4, 8), bits(8, 4), bits(4, 0)}) {
    const quantize::Options options = configure(method, plain);
    EXPECT_FALSE(options.keep_ends8);
    EXPECT_EQ(options.least_db_per_bit, 3.5);
    EXPECT_EQ(options.fewest_guarded_bits, 4) << "patterns may ask for fewer";
  }
  Request ternary = bits(2, 8);
  ternary.ternary = true;
  EXPECT_TRUE(configure(method, ternary).layer.weights.ternary);
  EXPECT_TRUE(configure(method, ternary).keep_ends8);
}

TEST(Methods, ternary_activations_are_two_bits_on_calibrated_grids) {
  Request request = bits(8, 2);
  request.ternary_activations = true;
  for (const Method& method : all_methods()) {
    const quantize::Options options = configure(method, request);
    EXPECT_TRUE(options.layer.ternary_activations) << method.name;
    EXPECT_EQ(options.layer.activation_bits, 2) << method.name;
    EXPECT_FALSE(options.layer.weights.ternary) << method.name;
    EXPECT_TRUE(options.keep_ends8) << method.name;
  }
  request.activation_grid = quantize::ActivationGrid::kDynamicToken;
  EXPECT_THROW(configure(find_method("mse"), request), Error);
}

TEST(Methods, what_few_bits_change_can_be_set_back) {
  Request request = bits(2, 8);
  request.options = {{"keep-ends8", "off"}, {"guard", "3.5"}, {"weight-range", "minmax"}};
  const quantize::Options options = configure(find_method("q-yolo"), request);
  EXPECT_FALSE(options.keep_ends8);
  EXPECT_EQ(options.least_db_per_bit, 3.5);
  EXPECT_EQ(options.fewest_guarded_bits, 1);
  EXPECT_FALSE(options.search_few_bits);
  EXPECT_TRUE(configure(find_method("q-yolo"), bits(2, 8)).search_few_bits);
  EXPECT_EQ(configure(find_method("mse"), bits(2, 8)).layer.weights.rule,
            quantize::WeightRule::kMse);
}

TEST(Methods, learned_rounding_begins_and_is_weighed_as_asked) {
  const Method& method = find_method("mse");
  Request request = bits(4, 4);
  const auto with = [&](std::map<std::string, std::string> options) {
    request.options = std::move(options);
    return configure(method, request);
  };
  const quantize::Options straight = with({{"rounding", "straight-through"}});
  EXPECT_EQ(straight.tuning_start, quantize::TuningStart::kGptq);
  EXPECT_EQ(straight.tuning_loss, quantize::ErrorWeighing::kPlain);
  EXPECT_EQ(straight.tuning_steps, 0) << "as the data allow";
  EXPECT_FALSE(straight.bias_correction) << "biases are learned";
  EXPECT_TRUE(with({{"rounding", "gptq"}}).bias_correction);
  EXPECT_EQ(with({{"rounding", "qdrop"}}).tuning_start, quantize::TuningStart::kNearest);
  const quantize::Options all = with({{"rounding", "brecq"},
                                      {"tuning-start", "gptq"},
                                      {"tuning-loss", "fisher"},
                                      {"tuning-steps", "7"}});
  EXPECT_EQ(all.tuning_start, quantize::TuningStart::kGptq);
  EXPECT_EQ(all.tuning_loss, quantize::ErrorWeighing::kFisher);
  EXPECT_EQ(all.tuning_steps, 7);
  EXPECT_TRUE(straight.needs_gradients());
  EXPECT_FALSE(with({}).needs_gradients());
  const quantize::Options ranges = with({{"range-loss", "fisher"}});
  EXPECT_EQ(ranges.range_loss, quantize::ErrorWeighing::kFisher);
  EXPECT_TRUE(ranges.needs_gradients());
  for (const auto& [name, value] : {std::pair("tuning-start", "zero"),
                                    {"tuning-loss", "l1"},
                                    {"range-loss", "l1"},
                                    {"tuning-steps", "0"},
                                    {"tuning-steps", "many"}}) {
    EXPECT_THROW(with({{name, value}}), Error) << name;
  }
}

TEST(QYolo, signs_index_no_table) {
  Request request = bits(1, 1);
  request.options["table-bits"] = "layer";
  EXPECT_EQ(configure(find_method("q-yolo"), request).table_input_bits, 8);
}

TEST(QYolo, is_min_max_weights_and_the_unilateral_histogram) {
  Request request;
  request.weight_bits = 4;
  request.activation_bits = 4;
  const quantize::Options options = configure(find_method("q-yolo"), request);
  EXPECT_EQ(options.layer.range, quantize::RangeRule::kUnilateral);
  EXPECT_EQ(options.layer.weights.rule, quantize::WeightRule::kMinMax);
  EXPECT_EQ(options.layer.weights.granularity, quantize::Granularity::kChannel);
  EXPECT_EQ(options.layer.weights.bits, 4);
  EXPECT_EQ(options.table_input_bits, 8);
  EXPECT_FALSE(options.keep_ends8);
  request.options["table-bits"] = "layer";
  EXPECT_EQ(configure(find_method("q-yolo"), request).table_input_bits, 4);
}

}  // namespace
}  // namespace ounce::methods
