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
  Request request;
  request.weight_bits = 1;
  EXPECT_THROW(configure(find_method("minmax"), request), Error);
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
