#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/error.h"
#include "graph/ops/log_grid.h"
#include "graph/passes/passes.h"
#include "graph/rewrite.h"

namespace ounce {
namespace {

/// Writes one node in other operators: `step` adds a node before it, `finish` turns it into the
/// last one.
class Expansion {
 public:
  Expansion(GraphEditor& editor, int node)
      : editor_(editor), index_(node), node_(editor.graph().nodes[static_cast<size_t>(node)]) {}

  /// The node as it was.
  const Node& node() const { return node_; }
  ValueId input(size_t i) const { return node_.input(i); }

  /// Rank of input `i`; throws `Error` when it is not known or less than `least`.
  size_t rank(size_t i, size_t least = 0) const { return shape(i, least).size(); }

  const SymbolicShape& shape(size_t i, size_t least = 0) const {
    const auto& known = editor_.graph().value(input(i)).shape;
    if (known && known->size() >= least) return *known;
    throw Error("needs " + std::string(known ? "more dimensions" : "the rank") + " of input " +
                    std::to_string(i) + " to be written in ONNX operators",
                node_.op + " node '" + node_.name + "'", "inferring shapes first");
  }

  ValueId step(std::string_view op, std::vector<ValueId> inputs, AttributeMap attributes = {}) {
    return editor_.insert(index_, std::string(op), op, std::move(inputs), std::move(attributes));
  }
  void finish(std::string_view op, std::vector<ValueId> inputs, AttributeMap attributes = {}) {
    editor_.replace(index_, op, std::move(inputs), std::move(attributes));
  }

  /// The dtype that the node computes in.
  DType dtype() const {
    const DType known = editor_.graph().value(node_.outputs[0]).dtype;
    return is_float(known) ? known : DType::f32;
  }
  ValueId number(double value) {
    return editor_.add_constant(node_.name + "/number",
                                cast(Tensor::scalar(static_cast<float>(value)), dtype()));
  }
  ValueId integers(std::vector<int64_t> values) {
    return editor_.add_constant(node_.name + "/integers", Tensor::of_i64(std::move(values)));
  }
  ValueId tensor(Tensor value) {
    return editor_.add_constant(node_.name + "/tensor", std::move(value));
  }

  /// The constant behind input `i`, nullptr when it is computed.
  const Tensor* constant(size_t i) const { return editor_.graph().constant(input(i)); }
  /// value / 2: a constant's is one again.
  ValueId half(ValueId value) {
    const Tensor* known = editor_.graph().constant(value);
    if (known == nullptr) return step("Mul", {value, number(0.5)});
    std::vector<float> halves = known->to_f32();
    for (float& number : halves) number *= 0.5F;
    return tensor(cast(Tensor::of(halves, known->shape()), known->dtype()));
  }

  void set_dtype(ValueId id, DType dtype) { editor_.graph().value(id).dtype = dtype; }

 private:
  GraphEditor& editor_;
  int index_;
  Node node_;
};

AttributeMap with_ints(std::string name, std::vector<int64_t> values) {
  AttributeMap attributes;
  attributes.set(std::move(name), std::move(values));
  return attributes;
}

AttributeMap with_int(std::string name, int64_t value) {
  AttributeMap attributes;
  attributes.set(std::move(name), value);
  return attributes;
}

void expand_silu(Expansion& e) {
  e.finish("Mul", {e.input(0), e.step("Sigmoid", {e.input(0)})});
}

void expand_attention(Expansion& e) {
  std::vector<int64_t> perm(e.rank(1, 2));
  for (size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<int64_t>(i);
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  const Dim& head_dim = e.shape(0, 2).back();
  double scale = 0;
  if (e.node().attributes.has("scale")) {
    scale = e.node().attributes.get_float("scale", 1);
  } else if (head_dim.known()) {
    scale = 1 / std::sqrt(static_cast<double>(head_dim.value));
  } else {
    throw Error("needs the head dimension for its default scale", "node '" + e.node().name + "'");
  }
  const ValueId kt = e.step("Transpose", {e.input(1)}, with_ints("perm", perm));
  const ValueId product = e.step("MatMul", {e.input(0), kt});
  ValueId scores = e.step("Mul", {product, e.number(scale)});
  if (e.input(3) != kNoValue) scores = e.step("Add", {scores, e.input(3)});
  const ValueId map = e.step("Softmax", {scores}, with_int("axis", -1));
  e.finish("MatMul", {map, e.input(2)});
}

/// Trailing axes of a normalisation, counted from the end.
std::vector<int64_t> normalized_axes(const Expansion& e) {
  int64_t axis = e.node().attributes.get_int("axis", -1);
  if (axis >= 0) axis -= static_cast<int64_t>(e.rank(0));
  if (axis < -64) throw Error("axis is " + std::to_string(axis), "node '" + e.node().name + "'");
  std::vector<int64_t> axes;
  for (; axis < 0; ++axis) axes.push_back(axis);
  return axes;
}

void expand_rms_norm(Expansion& e) {
  const double epsilon = e.node().attributes.get_float("epsilon", 1e-5f);
  const ValueId square = e.step("Mul", {e.input(0), e.input(0)});
  const ValueId mean = e.step("ReduceMean", {square, e.integers(normalized_axes(e))});
  const ValueId root = e.step("Sqrt", {e.step("Add", {mean, e.number(epsilon)})});
  e.finish("Mul", {e.step("Div", {e.input(0), root}), e.input(1)});
}

void expand_layer_norm(Expansion& e) {
  const double epsilon = e.node().attributes.get_float("epsilon", 1e-5f);
  const ValueId axes = e.integers(normalized_axes(e));
  const ValueId centred = e.step("Sub", {e.input(0), e.step("ReduceMean", {e.input(0), axes})});
  const ValueId variance = e.step("ReduceMean", {e.step("Mul", {centred, centred}), axes});
  const ValueId root = e.step("Sqrt", {e.step("Add", {variance, e.number(epsilon)})});
  const ValueId normal = e.step("Div", {centred, root});
  if (e.input(2) == kNoValue) {
    e.finish("Mul", {normal, e.input(1)});
  } else {
    e.finish("Add", {e.step("Mul", {normal, e.input(1)}), e.input(2)});
  }
}

/// Halves of x along the last axis: begin, begin + step, ...
ValueId slice_last(Expansion& e, int64_t begin, int64_t end, int64_t step) {
  return e.step("Slice", {e.input(0), e.integers({begin}), e.integers({end}), e.integers({-1}),
                          e.integers({step})});
}

void expand_rotary(Expansion& e) {
  const bool interleaved = e.node().attributes.get_int("interleaved", 0) != 0;
  const Dim dim = e.shape(0, 2).back();
  if (!dim.known()) {
    throw Error("needs the head dimension to be written in ONNX operators",
                "node '" + e.node().name + "'", "inferring shapes first");
  }
  constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();
  const ValueId a = interleaved ? slice_last(e, 0, kEnd, 2) : slice_last(e, 0, dim.value / 2, 1);
  const ValueId b = interleaved ? slice_last(e, 1, kEnd, 2) : slice_last(e, dim.value / 2, kEnd, 1);
  const ValueId cos = e.input(1);
  const ValueId sin = e.input(2);
  ValueId first = e.step("Sub", {e.step("Mul", {a, cos}), e.step("Mul", {b, sin})});
  ValueId second = e.step("Add", {e.step("Mul", {b, cos}), e.step("Mul", {a, sin})});
  if (!interleaved) {
    e.finish("Concat", {first, second}, with_int("axis", -1));
    return;
  }
  const ValueId axis = e.integers({-1});
  const ValueId pairs =
      e.step("Concat", {e.step("Unsqueeze", {first, axis}), e.step("Unsqueeze", {second, axis})},
             with_int("axis", -1));
  // [..., head_dim / 2, 2] -> [..., head_dim]: leading dimensions are copied by 0.
  std::vector<int64_t> target(e.rank(0), 0);
  target.back() = dim.value;
  e.finish("Reshape", {pairs, e.integers(std::move(target))});
}

/// The scale of a Binarize node, shaped so that it broadcasts along `axis`.
ValueId binarize_scale(Expansion& e) {
  if (e.input(1) == kNoValue) return e.number(1);
  if (e.rank(1) != 1 || e.shape(1)[0] == Dim(1)) return e.input(1);
  const auto axis = static_cast<size_t>(
      normalize_axis(e.node().attributes.get_int("axis", 1), static_cast<int64_t>(e.rank(0))));
  std::vector<int64_t> shape(e.rank(0) - axis, 1);
  if (const Tensor* scale = e.constant(1)) {
    shape[0] = scale->size();
    return e.tensor(scale->reshaped(std::move(shape)));
  }
  shape[0] = -1;
  return e.step("Reshape", {e.input(1), e.integers(std::move(shape))});
}

/// scale * sign(x) with sign(0) = +1, or scale * (x > scale / 2 ? 1 : 0).
void expand_binarize(Expansion& e) {
  const ValueId scale = binarize_scale(e);
  if (e.node().attributes.get_int("unsigned", 0) != 0) {
    const ValueId above = e.step("Greater", {e.input(0), e.half(scale)});
    e.set_dtype(above, DType::boolean);
    e.finish("Where", {above, scale, e.number(0)});
    return;
  }
  const ValueId negative = e.step("Less", {e.input(0), e.number(0)});
  e.set_dtype(negative, DType::boolean);
  if (e.input(1) == kNoValue) {
    e.finish("Where", {negative, e.number(-1), e.number(1)});
  } else {
    e.finish("Mul", {e.step("Where", {negative, e.number(-1), e.number(1)}), scale});
  }
}

/// DynamicQuantizeLinear's formula with any number of bits and grids of rows.
void expand_dynamic_fake_quant(Expansion& e) {
  const AttributeMap& given = e.node().attributes;
  const double levels = std::exp2(given.get_int("bits", 8));
  const bool symmetric = given.get_int("symmetric", 0) != 0;
  const ValueId x = e.input(0);
  const ValueId zero = e.number(0);
  std::vector<ValueId> reduced = {x};  // over all axes
  if (given.get_int("per_token", 0) != 0) reduced.push_back(e.integers({-1}));
  const ValueId low = e.step("Min", {e.step("ReduceMin", reduced), zero});
  const ValueId high = e.step("Max", {e.step("ReduceMax", reduced), zero});
  const ValueId below = e.step("Neg", {low});
  const ValueId scale =
      symmetric ? e.step("Div", {e.step("Max", {below, high}), e.number(levels / 2 - 1)})
                : e.step("Div", {e.step("Add", {below, high}), e.number(levels - 1)});
  const ValueId some = e.step("Greater", {scale, zero});
  e.set_dtype(some, DType::boolean);
  const ValueId divisor = e.step("Where", {some, scale, e.number(1)});
  const ValueId steps = e.step("Round", {e.step("Div", {x, divisor})});
  if (symmetric) {
    const ValueId codes = e.step("Clip", {steps, e.number(-levels / 2), e.number(levels / 2 - 1)});
    e.finish("Mul", {codes, scale});
    return;
  }
  const ValueId zero_point = e.step("Round", {e.step("Div", {below, divisor})});
  const ValueId codes =
      e.step("Clip", {e.step("Add", {steps, zero_point}), zero, e.number(levels - 1)});
  e.finish("Mul", {e.step("Sub", {codes, zero_point}), scale});
}

/// table[round(-log_base(x))]. A logarithm in floats is off by some units of its last place: right
/// beside a border between two codes the other one may come out. Below the power of the
/// last code, and above 1, x is replaced first (a NaN too: it is not less than 1), so that every
/// code is one of the table.
void expand_log_quantize(Expansion& e) {
  const ops::LogGrid grid = ops::log_grid_of(e.node().attributes);
  const std::vector<float> values = grid.values();
  const auto count = static_cast<int64_t>(values.size());
  const ValueId below_one = e.step("Less", {e.input(0), e.number(1)});
  e.set_dtype(below_one, DType::boolean);
  const ValueId most_one = e.step("Where", {below_one, e.input(0), e.number(1)});
  const ValueId logarithm =
      e.step("Log", {e.step("Max", {most_one, e.number(grid.power(grid.last()))})});
  const double steps_per_unit = -grid.steps_per_octave / std::log(2.0);
  const ValueId steps = e.step("Round", {e.step("Mul", {logarithm, e.number(steps_per_unit)})});
  constexpr int64_t kInt64 = 7;  // in ONNX's enumeration
  const ValueId codes = e.step("Cast", {steps}, with_int("to", kInt64));
  e.set_dtype(codes, DType::i64);
  e.finish("Gather", {e.tensor(cast(Tensor::of(values, {count}), e.dtype())), codes});
}

void expand_gelu(Expansion& e) {
  const ValueId x = e.input(0);
  ValueId gate = kNoValue;
  if (e.node().attributes.get_string("approximate", "none") == "tanh") {
    const ValueId cube = e.step("Mul", {e.step("Mul", {x, x}), x});
    const ValueId sum = e.step("Add", {x, e.step("Mul", {cube, e.number(0.044715)})});
    gate = e.step("Tanh", {e.step("Mul", {sum, e.number(0.7978845608028654)})});
  } else {
    gate = e.step("Erf", {e.step("Div", {x, e.number(1.4142135623730951)})});
  }
  const ValueId tail = e.step("Add", {gate, e.number(1)});
  e.finish("Mul", {e.step("Mul", {x, tail}), e.number(0.5)});
}

void expand_mish(Expansion& e) {
  e.finish("Mul", {e.input(0), e.step("Tanh", {e.step("Softplus", {e.input(0)})})});
}

void expand_hard_swish(Expansion& e) {
  AttributeMap slope;
  slope.set("alpha", 1.0f / 6.0f);
  slope.set("beta", 0.5f);
  e.finish("Mul", {e.input(0), e.step("HardSigmoid", {e.input(0)}, slope)});
}

/// x [n, c, ...] as [n, groups, ...], each group normalised as an instance, then scale and bias a
/// channel.
void expand_group_norm(Expansion& e) {
  const int64_t groups = e.node().attributes.get_int("num_groups", 1);
  const size_t rank = e.rank(0, 3);
  if (groups < 1 || groups > (1 << 20)) throw Error("num_groups is " + std::to_string(groups));
  const std::vector<float> ones(static_cast<size_t>(groups), 1.0f);
  const std::vector<float> zeros(static_cast<size_t>(groups), 0.0f);
  AttributeMap attributes;
  attributes.set("epsilon", e.node().attributes.get_float("epsilon", 1e-5f));
  const ValueId shape = e.step("Shape", {e.input(0)});
  e.set_dtype(shape, DType::i64);
  const ValueId grouped = e.step("Reshape", {e.input(0), e.integers({0, groups, -1})});
  const ValueId normal =
      e.step("InstanceNormalization",
             {grouped, e.tensor(Tensor::of(ones, {groups})), e.tensor(Tensor::of(zeros, {groups}))},
             attributes);
  const ValueId restored = e.step("Reshape", {normal, shape});
  std::vector<int64_t> per_channel(rank - 1, 1);
  per_channel[0] = -1;
  const ValueId target = e.integers(std::move(per_channel));
  const ValueId scaled = e.step("Mul", {restored, e.step("Reshape", {e.input(1), target})});
  e.finish("Add", {scaled, e.step("Reshape", {e.input(2), target})});
}

struct ExpansionRule {
  std::string_view op;
  int since_opset;  // opset from which ONNX has the operator
  void (*expand)(Expansion&);
};

constexpr int kNever = std::numeric_limits<int>::max();

constexpr ExpansionRule kRules[] = {
    {"Attention", kNever, expand_attention},
    {"Binarize", kNever, expand_binarize},
    {"DynamicFakeQuant", kNever, expand_dynamic_fake_quant},
    {"LogQuantize", kNever, expand_log_quantize},
    {"RMSNorm", kNever, expand_rms_norm},
    {"RotaryEmbedding", kNever, expand_rotary},
    {"Silu", kNever, expand_silu},
    {"GroupNormalization", 21, expand_group_norm},
    {"Gelu", 20, expand_gelu},
    {"Mish", 18, expand_mish},
    {"LayerNormalization", 17, expand_layer_norm},
    {"HardSwish", 14, expand_hard_swish},
};

}  // namespace

int expand_fused(Graph& graph, int target_opset) {
  GraphEditor editor(graph);
  int count = 0;
  const int nodes = static_cast<int>(graph.nodes.size());
  for (int n = 0; n < nodes; ++n) {
    const std::string op = graph.nodes[static_cast<size_t>(n)].op;
    const auto rule = std::find_if(std::begin(kRules), std::end(kRules),
                                   [&](const ExpansionRule& r) { return r.op == op; });
    if (rule == std::end(kRules) || target_opset >= rule->since_opset) continue;
    Expansion expansion(editor, n);
    rule->expand(expansion);
    ++count;
  }
  editor.commit();
  if (count > 0) infer_shapes(graph);
  return count;
}

}  // namespace ounce
