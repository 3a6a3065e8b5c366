#include "quantize/plan/plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "graph/error.h"
#include "tests/quantize/graphs.h"
#include "tests/quantize/planned.h"

namespace ounce::quantize {
namespace {

using testing::detector_tail;
using testing::Planned;
using testing::planned;
using testing::relu_network;
using testing::residual_network;
using testing::simulated_only;
using testing::vit_block;

TEST(Plan, a_convolution_network_stays_on_integers_from_the_first_layer_to_the_last) {
  for (const Graph& source : {residual_network(), relu_network()}) {
    for (const ResidualStyle style :
         {ResidualStyle::kQuantizedOperands, ResidualStyle::kAccumulator}) {
      Options options;
      options.residual = style;
      const Planned result = planned(source, options);
      EXPECT_TRUE(result.plan.kept_float.empty()) << to_text(result.graph, result.plan);
      EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
      EXPECT_EQ(std::count(result.plan.on_integers.begin(), result.plan.on_integers.end(), false),
                0);
    }
  }
}

TEST(Plan, concatenation_and_pool_share_one_grid) {
  const Planned result = planned(residual_network());
  const GridPlan* joined = result.grid("concat");
  ASSERT_NE(joined, nullptr);
  EXPECT_EQ(joined, result.grid("pool"));
  EXPECT_EQ(joined, result.grid("block2.add"));
  ASSERT_EQ(joined->sources.size(), 1U);
  EXPECT_EQ(result.graph.value(joined->sources[0]).name, "block2.add");
}

/// A convolution and its max pool, which float operators read; with `peaks`, the pool's input, too.
Graph pooled_stem(bool peaks) {
  testing::Builder b(14);
  const ValueId x =
      b.op("Relu", {b.conv(b.input("image", {1, 3, 16, 16}), 3, 8, 3, "stem")}, "stem.relu");
  AttributeMap pool;
  pool.set("kernel_shape", std::vector<int64_t>{3, 3});
  pool.set("pads", std::vector<int64_t>(4, 1));
  const ValueId pooled = b.op("MaxPool", {x}, "pool", pool);
  return b.finish({peaks ? b.op("Equal", {pooled, x}, "peaks") : b.op("Sqrt", {pooled}, "root")});
}

TEST(Plan, a_pool_behind_a_layer_works_on_codes_whoever_reads_it) {
  const Planned result = planned(pooled_stem(false));
  const GridPlan* grid = result.grid("pool");
  ASSERT_NE(grid, nullptr) << to_text(result.graph, result.plan);
  EXPECT_EQ(grid, result.grid("stem.relu"));
  EXPECT_EQ(grid->bits, 8);
  EXPECT_EQ(grid->lower_bound, (LowerBound{0.0F, true}));
  EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
}

TEST(Plan, a_pool_that_finds_peaks_compares_what_it_read) {
  const Planned result = planned(pooled_stem(true));
  EXPECT_NE(result.layer("stem"), nullptr);
  EXPECT_EQ(result.grid("pool"), nullptr) << to_text(result.graph, result.plan);
  EXPECT_EQ(result.grid("stem.relu"), nullptr);
}

TEST(Plan, known_lower_bounds_reach_through_operators) {
  const Planned result = planned(residual_network());
  EXPECT_EQ(result.grid("stem.act")->lower_bound, (LowerBound{kSiluLowerBound, true}));
  EXPECT_EQ(result.grid("block1.add")->lower_bound, (LowerBound{2 * kSiluLowerBound, false}));
  EXPECT_EQ(result.grid("stem")->lower_bound, std::nullopt);
  EXPECT_GE(result.grid("stem")->table, 0);
  const Planned relu = planned(relu_network());
  EXPECT_EQ(relu.grid("stem.relu")->lower_bound, (LowerBound{0.0F, true}));
  EXPECT_EQ(relu.grid("stem"), nullptr) << "the clamp is the range of the codes";
}

TEST(Plan, accumulators_can_go_into_the_residual_addition) {
  Options options;
  options.residual = ResidualStyle::kAccumulator;
  EXPECT_EQ(planned(relu_network(), options).grid("block1.conv2"), nullptr);
  EXPECT_NE(planned(relu_network()).grid("block1.conv2"), nullptr);
}

TEST(Plan, a_transformer_keeps_residuals_norms_and_softmax_in_float) {
  const Planned result = planned(vit_block());
  for (const char* name : {"residual1", "residual2", "norm1", "softmax", "embed"}) {
    EXPECT_NE(result.kept(name), nullptr) << name;
  }
  for (const char* name : {"qkv.matmul", "scores", "mixed", "proj.matmul", "fc1.matmul",
                           "fc2.matmul", "head", "patch"}) {
    EXPECT_NE(result.layer(name), nullptr) << name << '\n' << to_text(result.graph, result.plan);
  }
  EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
  // q, k and v stay codes from the product on; the table of GELU sits between fc1 and fc2.
  EXPECT_EQ(result.grid("q"), result.grid("qkv"));
  EXPECT_GE(result.grid("fc1")->table, 0);
  EXPECT_EQ(result.grid("gelu")->lower_bound, (LowerBound{kGeluLowerBound, true}));
  EXPECT_EQ(result.grid("residual1"), nullptr);
}

TEST(Plan, the_tail_that_decodes_boxes_stays_in_float) {
  const Planned result = planned(detector_tail());
  ASSERT_NE(result.kept("dfl"), nullptr);
  EXPECT_NE(result.kept("dfl")->reason.find("decodes boxes"), std::string::npos);
  EXPECT_EQ(result.layer("dfl"), nullptr);
  EXPECT_EQ(result.grid("scores"), nullptr);
  EXPECT_EQ(result.grid("box_head"), nullptr);
  EXPECT_NE(result.layer("box_head"), nullptr);
  EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
}

TEST(Plan, ends_keep_eight_bits_when_asked) {
  Options options;
  options.layer.weights.bits = 4;
  options.layer.activation_bits = 4;
  EXPECT_EQ(planned(detector_tail(), options).layer("stem")->settings.weights.bits, 4);
  options.keep_ends8 = true;
  const Planned result = planned(residual_network(), options);
  EXPECT_EQ(result.layer("stem")->settings.weights.bits, 8);
  EXPECT_EQ(result.layer("fc")->settings.weights.bits, 8);
  EXPECT_EQ(result.layer("mix")->settings.weights.bits, 4);
  EXPECT_EQ(result.grid("image")->bits, 8);
  const Planned heads = planned(detector_tail(), options);
  EXPECT_EQ(heads.layer("class_head")->settings.weights.bits, 8);
  EXPECT_EQ(heads.layer("box_head")->settings.weights.bits, 8);
}

TEST(Plan, sums_keep_eight_bits_where_layers_read_four) {
  Options options;
  options.layer.weights.bits = 4;
  options.layer.activation_bits = 4;
  const Planned result = planned(residual_network(), options);
  EXPECT_EQ(result.grid("stem.act")->bits, 8);         // added
  EXPECT_EQ(result.grid("stem.act_narrow")->bits, 4);  // multiplied
  EXPECT_EQ(result.grid("stem")->bits, 8);             // table index
  EXPECT_EQ(result.grid("block1.act1")->bits, 4);
  EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
}

TEST(Plan, overrides_by_pattern_win) {
  Options options;
  options.overrides = {parse_override("block1.*:weights=4"), parse_override("mix:weights=float"),
                       parse_override("fc:granularity=tensor"), parse_override("stem:range=uh")};
  const Planned result = planned(residual_network(), options);
  EXPECT_EQ(result.layer("block1.conv1")->settings.weights.bits, 4);
  EXPECT_EQ(result.layer("block2.conv1")->settings.weights.bits, 8);
  EXPECT_EQ(result.layer("mix"), nullptr);
  EXPECT_NE(result.kept("mix"), nullptr);
  EXPECT_EQ(result.layer("fc")->settings.weights.granularity, Granularity::kTensor);
  EXPECT_EQ(result.grid("image")->range, RangeRule::kUnilateral);
  EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
}

TEST(Plan, what_the_engine_cannot_run_is_named_before_calibration) {
  Options options;
  options.overrides = {parse_override("block1.conv1:granularity=group:4")};
  const Planned result = planned(residual_network(), options);
  ASSERT_NE(result.kept("block1.conv1"), nullptr);
  EXPECT_NE(result.kept("block1.conv1")->reason.find("not executable"), std::string::npos);
  EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
}

TEST(Plan, text_names_layers_grids_and_floats) {
  const Planned result = planned(vit_block());
  const std::string text = to_text(result.graph, result.plan);
  EXPECT_NE(text.find("layer fc1.matmul (MatMul): weights 8 bit per channel"), std::string::npos)
      << text;
  EXPECT_NE(text.find("grid fc1: 8 bit index of the table of Gelu"), std::string::npos) << text;
  EXPECT_NE(text.find("float softmax (Softmax)"), std::string::npos) << text;
}

TEST(Options, globs) {
  EXPECT_TRUE(matches("*", "anything"));
  EXPECT_TRUE(matches("head.*", "head.cls.0"));
  EXPECT_TRUE(matches("*conv?", "a.conv1"));
  EXPECT_TRUE(matches("a*b*c", "axxbyyc"));
  EXPECT_FALSE(matches("head.*", "neck.head"));
  EXPECT_FALSE(matches("conv?", "conv"));
  EXPECT_FALSE(matches("", "x"));
  EXPECT_TRUE(matches("", ""));
}

TEST(Options, overrides_say_what_is_wrong) {
  const Override setting = parse_override("/model/conv:0/Conv:weights=4");
  EXPECT_EQ(setting.pattern, "/model/conv:0/Conv");
  EXPECT_EQ(setting.key, "weights");
  for (const char* text : {"weights=4", "a:weights=9", "a:weights", "a:colour=red", "a:range=best",
                           "a:percentile=30", "a:granularity=group:0", ":weights=4"}) {
    EXPECT_THROW(parse_override(text), Error) << text;
  }
}

}  // namespace
}  // namespace ounce::quantize
