#include "graph/pattern.h"

#include <gtest/gtest.h>

#include "graph/rewrite.h"
#include "tests/graph/build_graph.h"
#include "tests/graph/equivalence.h"

namespace ounce {
namespace {

using namespace ounce::testing;
using namespace ounce::pattern;

/// y = b * sigmoid(a), the operands of Mul in this order when `gate_first`.
Graph gate(bool same_operand, bool gate_first) {
  Graph graph;
  const ValueId a = graph.add_input("a", DType::f32, {4});
  const ValueId b = same_operand ? a : graph.add_input("b", DType::f32, {4});
  const ValueId s = graph.add_node("Sigmoid", {a}, {}, "s");
  graph.outputs = {gate_first ? graph.add_node("Mul", {s, b}, {}, "m")
                              : graph.add_node("Mul", {b, s}, {}, "m")};
  return graph;
}

TEST(Pattern, a_capture_that_occurs_twice_is_one_value) {
  const Pattern silu = commutative("Mul", any("x"), op("Sigmoid", {any("x")}));
  for (const bool gate_first : {false, true}) {
    const Graph same = gate(true, gate_first);
    const auto match = Matcher(same).match(silu, 1);
    ASSERT_TRUE(match);
    EXPECT_EQ(match->value("x"), same.inputs[0]);
    EXPECT_EQ(match->covered.size(), 2u);
    EXPECT_EQ(match->value("nothing"), kNoValue);
    const Graph different = gate(false, gate_first);
    EXPECT_FALSE(Matcher(different).match(silu, 1));
  }
}

TEST(Pattern, ordered_operands_do_not_swap) {
  const Pattern ordered = op("Mul", {any("x"), op("Sigmoid", {any("x")})});
  EXPECT_TRUE(Matcher(gate(true, false)).match(ordered, 1));
  EXPECT_FALSE(Matcher(gate(true, true)).match(ordered, 1));
}

TEST(Pattern, tries_every_order_before_it_gives_up) {
  // (p + q) * q with the captures bound the wrong way round at first.
  Graph graph;
  const ValueId p = graph.add_input("p", DType::f32, {4});
  const ValueId q = graph.add_input("q", DType::f32, {4});
  const ValueId sum = graph.add_node("Add", {p, q});
  graph.outputs = {graph.add_node("Mul", {sum, q})};
  const Pattern pattern = commutative("Mul", commutative("Add", any("a"), any("b")), any("a"));
  const auto match = Matcher(graph).match(pattern, 1);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->value("a"), q);
  EXPECT_EQ(match->value("b"), p);
}

TEST(Pattern, alternatives_leave_no_trace_of_failed_ones) {
  const Graph graph = gate(true, false);
  const Pattern pattern = either({op("Mul", {any("x"), op("Tanh", {any("x")}, "tanh")}),
                                  op("Mul", {any("y"), op("Sigmoid|Relu", {any("y")}, "gate")})});
  const auto match = Matcher(graph).match(pattern, 1);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->value("x"), kNoValue);
  EXPECT_EQ(match->node("tanh"), -1);
  EXPECT_EQ(match->node("gate"), 0);
}

TEST(Pattern, constants_answer_to_their_content) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {4});
  const ValueId half = graph.add_constant("half", Tensor::scalar(0.5f));
  graph.outputs = {graph.add_node("Mul", {x, half})};
  const Matcher matcher(graph);
  EXPECT_TRUE(matcher.match(op("Mul", {any(), number(0.5)}), 0));
  EXPECT_FALSE(matcher.match(op("Mul", {any(), number(0.51)}), 0));
  EXPECT_TRUE(matcher.match(op("Mul", {any(), scalar("c")}), 0));
  EXPECT_FALSE(matcher.match(op("Mul", {constant(), any()}), 0));
  EXPECT_TRUE(matcher.match(commutative("Mul", constant(), any()), 0));
  EXPECT_FALSE(matcher.match(op("Mul", {any()}), 0));
  EXPECT_FALSE(matcher.match(
      where(op("Mul", {any(), any()}), [](const Graph&, const Node&) { return false; }), 0));
}

TEST(Pattern, a_match_is_closed_only_when_nobody_else_reads_inside) {
  Graph graph = gate(true, false);
  const Pattern silu = commutative("Mul", any("x"), op("Sigmoid", {any("x")}));
  {
    const Matcher matcher(graph);
    EXPECT_TRUE(matcher.is_closed(*matcher.match(silu, 1)));
  }
  graph.outputs.push_back(graph.nodes[0].outputs[0]);
  const Matcher matcher(graph);
  EXPECT_FALSE(matcher.is_closed(*matcher.match(silu, 1)));
}

TEST(Rewrite, replaces_in_place_and_keeps_name_scope_and_output) {
  Graph graph = gate(true, false);
  graph.nodes[1].scope = "blocks.0";
  const std::string output = graph.value(graph.outputs[0]).name;
  const int count = rewrite_matches(graph, commutative("Mul", any("x"), op("Sigmoid", {any("x")})),
                                    [](GraphEditor& editor, const Match& match) {
                                      const ValueId neg = editor.insert(match.root, "neg", "Neg",
                                                                        {match.value("x")});
                                      editor.replace(match.root, "Abs", {neg});
                                      return true;
                                    });
  graph.validate();
  EXPECT_EQ(count, 1);
  EXPECT_EQ(operators(graph), "Neg Abs");
  EXPECT_EQ(graph.nodes[0].name, "m/neg");
  EXPECT_EQ(graph.nodes[0].scope, "blocks.0");
  EXPECT_EQ(graph.nodes[1].name, "m");
  EXPECT_EQ(graph.value(graph.outputs[0]).name, output);
}

}  // namespace
}  // namespace ounce
