// Quantizers that ONNX has no operator for come as several nodes: each pass here is the inverse of
// what expand.cpp writes.
#include <algorithm>
#include <cmath>

#include "graph/ops/log_grid.h"
#include "graph/passes/passes.h"
#include "graph/rewrite.h"

namespace ounce {
namespace {

using namespace pattern;

/// A constant of one element that is `value` in single precision: codes must come out the same,
/// not about the same.
Pattern exactly(double value) {
  return constant({}, [value](const Tensor& tensor) {
    return tensor.size() == 1 && tensor.to_f32()[0] == static_cast<float>(value);
  });
}

/// Clip(steps, "least", "most")
Pattern clipped(const Pattern& steps) {
  return op("Clip", {steps, scalar("least"), scalar("most")});
}

/// Smallest or largest value of x and 0: along "axes", or of all where there are none.
Pattern extreme(const char* reduce, const char* limit) {
  const Pattern rows = where(op(reduce, {any("x"), constant("axes")}), keeps_dims);
  const Pattern all = where(op(reduce, {any("x")}), keeps_dims);
  return commutative(limit, either({rows, all}), exactly(0));
}

bool fuse_dynamic_grid(GraphEditor& editor, const Match& match, bool symmetric) {
  const Graph& graph = editor.graph();
  const double least = *scalar_constant(graph, match.value("least"));
  const double most = *scalar_constant(graph, match.value("most"));
  const double span = *scalar_constant(graph, match.value("span"));
  const ValueId axes = match.value("axes");
  const bool per_token = axes != kNoValue;
  if (per_token && graph.constant(axes)->to_i64() != std::vector<int64_t>{-1}) return false;
  for (int64_t bits = 2; bits <= 8; ++bits) {
    const double levels = std::exp2(bits);
    const double lowest = symmetric ? -levels / 2 : 0;
    const double widest = symmetric ? levels / 2 - 1 : levels - 1;
    if (least != lowest || most != lowest + levels - 1 || span != widest) continue;
    AttributeMap attributes;
    attributes.set("bits", bits);
    attributes.set("per_token", int64_t{per_token});
    if (symmetric) attributes.set("symmetric", int64_t{1});
    editor.replace(match.root, "DynamicFakeQuant", {match.value("x")}, std::move(attributes));
    return true;
  }
  return false;
}

/// A Binarize with the scale "scale": a number, or one along an axis of x that it does not widen.
bool fuse_binarize_scale(GraphEditor& editor, const Match& match, bool is_unsigned) {
  const Graph& graph = editor.graph();
  const ValueId x = match.value("x");
  const Tensor& scale = *graph.constant(match.value("scale"));
  AttributeMap attributes;
  if (is_unsigned) attributes.set("unsigned", int64_t{1});
  Tensor given = scale.reshaped({scale.size()});
  if (scale.size() == 1) {
    given = scale.reshaped({});
  } else {
    const auto& shape = graph.value(x).shape;
    if (!shape || shape->size() < scale.shape().size()) return false;
    const auto along = std::find(scale.shape().begin(), scale.shape().end(), scale.size());
    if (along == scale.shape().end()) return false;
    const auto axis =
        static_cast<size_t>(along - scale.shape().begin()) + shape->size() - scale.shape().size();
    if ((*shape)[axis] != Dim(scale.size())) return false;
    attributes.set("axis", static_cast<int64_t>(axis));
  }
  const std::string& name = graph.nodes[static_cast<size_t>(match.root)].name;
  const ValueId id = editor.add_constant(name + ".scale", std::move(given));
  editor.replace(match.root, "Binarize", {x, id}, std::move(attributes));
  return true;
}

/// Is "half" the half of "scale"?
bool is_half(const Graph& graph, const Match& match) {
  const Tensor& half = *graph.constant(match.value("half"));
  const Tensor& scale = *graph.constant(match.value("scale"));
  if (half.shape() != scale.shape()) return false;
  const std::vector<float> halves = half.to_f32();
  const std::vector<float> scales = scale.to_f32();
  for (size_t i = 0; i < scales.size(); ++i) {
    if (halves[i] != scales[i] * 0.5F) return false;
  }
  return true;
}

/// The grid whose values are "table", when the other constants are its, too.
std::optional<ops::LogGrid> log_grid(const Graph& graph, const Match& match) {
  const std::vector<float> table = graph.constant(match.value("table"))->to_f32();
  const float steps = *scalar_constant(graph, match.value("steps"));
  const float smallest = *scalar_constant(graph, match.value("smallest"));
  for (int code = 0; code < 24; ++code) {
    const ops::LogGrid grid{
        .bits = code / 4 + 1, .steps_per_octave = code % 2 + 1, .zero_below = code / 2 % 2 != 0};
    if (grid.zero_below && grid.bits > 5) continue;  // log_grid_of refuses it
    if (steps == static_cast<float>(-grid.steps_per_octave / std::log(2.0)) &&
        smallest == static_cast<float>(grid.power(grid.last())) && table == grid.values()) {
      return grid;
    }
  }
  return std::nullopt;
}

}  // namespace

int fuse_dynamic_fake_quant(Graph& graph) {
  // What occurs twice is looked into at one place and captured at both.
  const Pattern low = extreme("ReduceMin", "Min");
  const Pattern high = extreme("ReduceMax", "Max");
  const Pattern scale = any("scale");
  const Pattern divisor =
      op("Where", {op("Greater", {scale, exactly(0)}), scale, exactly(1)}, "divisor");
  const Pattern steps = op("Round", {op("Div", {any("x"), any("divisor")})});
  const Pattern below = op("Neg", {low}, "below");

  const Pattern whole_span = op("Div", {commutative("Add", below, high), scalar("span")}, "scale");
  const Pattern zero_point = op("Round", {op("Div", {any("below"), divisor})}, "zero_point");
  const Pattern codes = clipped(commutative("Add", steps, any("zero_point")));
  const Pattern asymmetric = commutative("Mul", op("Sub", {codes, zero_point}), whole_span);
  int count = rewrite_matches(graph, asymmetric, [](GraphEditor& editor, const Match& match) {
    return fuse_dynamic_grid(editor, match, false);
  });

  const Pattern half_span = op("Div", {commutative("Max", below, high), scalar("span")}, "scale");
  const Pattern signed_steps = op("Round", {op("Div", {any("x"), divisor})});
  const Pattern symmetric = commutative("Mul", clipped(signed_steps), half_span);
  count += rewrite_matches(graph, symmetric, [](GraphEditor& editor, const Match& match) {
    return fuse_dynamic_grid(editor, match, true);
  });
  return count;
}

int fuse_binarize(Graph& graph) {
  const Pattern x = any("x");
  const Pattern scale = constant("scale");
  const Pattern sign = op("Where", {op("Less", {x, exactly(0)}), exactly(-1), exactly(1)});
  int count = rewrite_matches(graph, commutative("Mul", sign, scale),
                              [](GraphEditor& editor, const Match& match) {
                                return fuse_binarize_scale(editor, match, false);
                              });
  count += rewrite_matches(graph, sign, [](GraphEditor& editor, const Match& match) {
    editor.replace(match.root, "Binarize", {match.value("x")});
    return true;
  });
  const Pattern above = op("Greater", {x, constant("half")});
  count += rewrite_matches(
      graph, op("Where", {above, scale, exactly(0)}), [](GraphEditor& editor, const Match& match) {
        return is_half(editor.graph(), match) && fuse_binarize_scale(editor, match, true);
      });
  return count;
}

int fuse_log_quantize(Graph& graph) {
  const Pattern x = any("x");
  const Pattern most_one = op("Where", {op("Less", {x, exactly(1)}), x, exactly(1)});
  const Pattern logarithm = op("Log", {commutative("Max", most_one, scalar("smallest"))});
  const Pattern codes = op("Cast", {op("Round", {commutative("Mul", logarithm, scalar("steps"))})});
  const auto takes_rows = [](const Graph&, const Node& node) {
    return node.attributes.get_int("axis", 0) == 0;
  };
  const Pattern values = where(op("Gather", {constant("table"), codes}), takes_rows);
  return rewrite_matches(graph, values, [](GraphEditor& editor, const Match& match) {
    const auto grid = log_grid(editor.graph(), match);
    if (!grid) return false;
    AttributeMap attributes;
    attributes.set("bits", int64_t{grid->bits});
    attributes.set("steps_per_octave", int64_t{grid->steps_per_octave});
    attributes.set("zero_below", int64_t{grid->zero_below});
    editor.replace(match.root, "LogQuantize", {match.value("x")}, std::move(attributes));
    return true;
  });
}

}  // namespace ounce
