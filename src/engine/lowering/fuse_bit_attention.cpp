#include <algorithm>
#include <cmath>

#include "engine/kernels/attention/attention_bits.h"
#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/rewriter.h"
#include "graph/pattern.h"

// Binarize(q) Binarize(k)' * scale + biases -> Softmax -> unsigned Binarize -> times Binarize(v)
// becomes one node; the biases are constants, or none. Scores and map exist only inside of it:
// where one of them is an output (a tap, say), the parts run one by one.
namespace ounce::engine {
namespace {

using Scales = std::vector<double>;  // one for all, or one a head

/// Whether there is one scale, or one a slice of `axis`, which must be that of the heads.
std::optional<Scales> scales_of(const Graph& graph, const Node& binarize, int64_t head_axis) {
  if (binarize.input(1) == kNoValue) return Scales{1.0};
  const Tensor* scale = graph.constant(binarize.input(1));
  if (scale == nullptr || scale->dtype() != DType::f32) return std::nullopt;
  if (scale->size() != 1 && binarize.attributes.get_int("axis", 1) != head_axis) {
    return std::nullopt;
  }
  const std::vector<float> values = scale->to_f32();
  const auto usable = [](float s) { return s > 0.0F && std::isfinite(s); };
  if (values.empty() || !std::all_of(values.begin(), values.end(), usable)) return std::nullopt;
  return Scales(values.begin(), values.end());
}

Scales product(const Scales& a, const Scales& b) {
  Scales result(std::max(a.size(), b.size()));
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = a[a.size() == 1 ? 0 : i] * b[b.size() == 1 ? 0 : i];
  }
  return result;
}

/// An operand that is signs times scales: of `x` with its axes moved by `perm`, normalized before
/// by the node `norm`.
struct Signs {
  ValueId x = kNoValue;
  std::vector<int64_t> perm;
  Scales scales;
  int norm = -1;
};

class AttentionMatcher {
 public:
  AttentionMatcher(Rewriter& rewriter, int root) : rewriter_(rewriter), root_(root) {}

  bool fuse() {
    const Node& mix = rewriter_.node(root_);
    if (!graph().value(mix.output(0)).shape) return false;
    rank_ = static_cast<int64_t>(graph().value(mix.output(0)).shape->size());
    if (rank_ < 2 || !match_map(mix.input(0)) || !match_scores()) return false;
    const Node& scores = rewriter_.node(scores_);
    auto q = signs(scores.input(0));
    auto k = signs(scores.input(1));
    const auto v = signs(mix.input(1));
    if (!q || !k || !v) return false;
    std::swap(k->perm[static_cast<size_t>(rank_) - 1], k->perm[static_cast<size_t>(rank_) - 2]);
    if (!fits_kernel(*q, *k, *v)) return false;
    take_norm(*q);
    take_norm(*k);
    replace(*q, *k, *v);
    return true;
  }

 private:
  const Graph& graph() const { return rewriter_.graph(); }

  /// The node that makes `value` if it has this operator and `reader` alone reads it.
  int only_for(ValueId value, std::string_view op, int reader) const {
    const int i = rewriter_.producer(value, op);
    return i >= 0 && rewriter_.only_consumer(value) == reader ? i : -1;
  }

  bool match_map(ValueId map) {
    const int binarize = only_for(map, "Binarize", root_);
    if (binarize < 0 || rewriter_.node(binarize).attributes.get_int("unsigned", 0) == 0) {
      return false;
    }
    const auto scales = scales_of(graph(), rewriter_.node(binarize), rank_ - 3);
    softmax_ = only_for(rewriter_.node(binarize).input(0), "Softmax", binarize);
    if (!scales || softmax_ < 0) return false;
    const int64_t axis = rewriter_.node(softmax_).attributes.get_int("axis", -1);
    map_scales_ = *scales;
    absorbed_ = {root_, binarize, softmax_};
    return axis == -1 || axis == rank_ - 1;
  }

  /// A value that is another one times a number.
  struct Scaling {
    int node = -1;
    ValueId x = kNoValue;
    double factor = 1.0;
  };
  std::optional<Scaling> scaling(ValueId value) const {
    const int times = rewriter_.producer(value, "Mul");
    const int i = times >= 0 ? times : rewriter_.producer(value, "Div");
    if (i < 0) return std::nullopt;
    const Node& node = rewriter_.node(i);
    const size_t input = times >= 0 && graph().constant(node.input(0)) != nullptr ? 1 : 0;
    const auto number = scalar_constant(graph(), node.input(1 - input));
    if (!number) return std::nullopt;
    return Scaling{i, node.input(input), times >= 0 ? double{*number} : 1.0 / double{*number}};
  }

  /// The node that adds constants to `value`'s other operand, which `x` becomes. What the scores
  /// are multiplied by behind it must leave them finite.
  int biasing(ValueId value, ValueId& x) {
    const int i = rewriter_.producer(value, "Add");
    if (i < 0 || biases_) return -1;
    const Node& node = rewriter_.node(i);
    for (const size_t side : {size_t{0}, size_t{1}}) {
      const Tensor* constant = graph().constant(node.input(side));
      if (constant == nullptr || constant->dtype() != DType::f32) continue;
      Tensor biases = *constant;
      for (float& bias : biases.mutable_data<float>()) {
        bias = static_cast<float>(bias * factor_);
        if (!std::isfinite(bias)) return -1;
      }
      biases_ = std::move(biases);
      x = node.input(1 - side);
      return i;
    }
    return -1;
  }

  /// Through multiplications with numbers and a sum with constants to the product of q and k.
  bool match_scores() {
    int reader = softmax_;
    ValueId value = rewriter_.node(softmax_).input(0);
    while ((scores_ = only_for(value, "MatMul", reader)) < 0) {
      if (rewriter_.only_consumer(value) != reader) return false;
      if (const auto scaled = scaling(value)) {
        reader = scaled->node;
        value = scaled->x;
        factor_ *= scaled->factor;
      } else {
        reader = biasing(value, value);
        if (reader < 0) return false;
      }
      absorbed_.push_back(reader);
    }
    absorbed_.push_back(scores_);
    return factor_ > 0.0 && std::isfinite(factor_);
  }

  /// Follows `value` up through Transpose nodes, of which `perm` gathers what they do.
  ValueId before_transposes(ValueId value, std::vector<int64_t>& perm) const {
    for (int i = rewriter_.producer(value, "Transpose"); i >= 0;
         i = rewriter_.producer(value, "Transpose")) {
      const std::vector<int64_t> inner = rewriter_.node(i).attributes.get_ints("perm");
      if (inner.size() != perm.size()) break;
      for (int64_t& axis : perm) axis = inner[static_cast<size_t>(axis)];
      value = rewriter_.node(i).input(0);
    }
    return value;
  }

  /// Follows `value` up through Transpose nodes and products with positive numbers, which `factor`
  /// gathers.
  ValueId before_scaling(ValueId value, std::vector<int64_t>& perm, double& factor) const {
    for (;;) {
      value = before_transposes(value, perm);
      const auto scaled = scaling(value);
      if (!scaled || !(scaled->factor > 0.0) || !std::isfinite(scaled->factor)) return value;
      factor *= scaled->factor;
      value = scaled->x;
    }
  }

  /// Binarize with Transpose nodes and numbers around it. A number before it changes no sign.
  std::optional<Signs> signs(ValueId value) const {
    Signs result;
    for (int64_t i = 0; i < rank_; ++i) result.perm.push_back(i);
    double after = 1.0;
    double before = 1.0;
    value = before_scaling(value, result.perm, after);
    const int i = rewriter_.producer(value, "Binarize");
    if (i < 0 || rewriter_.node(i).attributes.get_int("unsigned", 0) != 0) return std::nullopt;
    const auto scales = scales_of(graph(), rewriter_.node(i),
                                  rank_ < 3 ? -1 : result.perm[static_cast<size_t>(rank_) - 3]);
    if (!scales) return std::nullopt;
    result.scales = product(*scales, {after});
    result.x = before_scaling(rewriter_.node(i).input(0), result.perm, before);
    return result;
  }

  /// Takes a layer normalization over the elements of each head into the operand.
  void take_norm(Signs& operand) const {
    const int i = rewriter_.producer(operand.x, "LayerNormalization");
    if (i < 0 || operand.perm.back() != rank_ - 1) return;
    const Node& node = rewriter_.node(i);
    const int64_t axis = node.attributes.get_int("axis", -1);
    if (axis != -1 && axis != rank_ - 1) return;
    const int64_t head_dim = shape_of(operand).back();
    for (const size_t input : {size_t{1}, size_t{2}}) {
      if (node.input(input) == kNoValue) continue;
      const Tensor* constant = graph().constant(node.input(input));
      if (constant == nullptr || constant->dtype() != DType::f32 || constant->size() != head_dim) {
        return;
      }
    }
    operand.norm = i;
    operand.x = node.input(0);
  }

  void store_norm(AttributeMap& attributes, const std::string& name, const Signs& operand) const {
    if (operand.norm < 0) return;
    const Node& norm = rewriter_.node(operand.norm);
    attributes.set(name + "_epsilon", norm.attributes.get_float("epsilon", 1e-5F));
    if (const Tensor* gamma = graph().constant(norm.input(1))) {
      attributes.set(name + "_gamma", *gamma);
    }
    if (const Tensor* beta = graph().constant(norm.input(2))) attributes.set(name + "_beta", *beta);
  }

  Shape shape_of(const Signs& operand) const {
    const Shape source = *concrete(*graph().value(operand.x).shape);
    Shape shape;
    for (const int64_t axis : operand.perm) shape.push_back(source[static_cast<size_t>(axis)]);
    return shape;
  }

  bool fits_kernel(const Signs& q, const Signs& k, const Signs& v) const {
    for (const Signs* operand : {&q, &k, &v}) {
      const Value& x = graph().value(operand->x);
      if (x.dtype != DType::f32 || !x.shape || static_cast<int64_t>(x.shape->size()) != rank_) {
        return false;
      }
      const Shape shape = shape_of(*operand);
      if (element_count(shape) == 0 ||
          !std::equal(shape.begin(), shape.end() - 2, shape_of(q).begin())) {
        return false;
      }
    }
    return shape_of(q).back() <= kMostBitHeadDim && fit_biases(shape_of(q), shape_of(k));
  }

  /// Whether the biases are [.., tokens, keys] with leading axes that broadcast to those of q.
  bool fit_biases(const Shape& q, const Shape& k) const {
    if (!biases_) return true;
    const Shape& shape = biases_->shape();
    const size_t rank = shape.size();
    if (rank < 2 || rank > q.size() || k[k.size() - 2] > kMostBiasedKeys) return false;
    for (size_t i = 0; i + 2 < rank; ++i) {
      if (shape[i] != 1 && shape[i] != q[q.size() - rank + i]) return false;
    }
    return shape[rank - 2] == q[q.size() - 2] && shape[rank - 1] == k[k.size() - 2];
  }

  /// The operand as its product reads it.
  ValueId arranged(const Signs& operand, const char* name) {
    if (std::is_sorted(operand.perm.begin(), operand.perm.end())) return operand.x;
    Node node;
    node.op = "Transpose";
    node.name = rewriter_.node(root_).name + name;
    node.scope = rewriter_.node(root_).scope;
    node.attributes.set("perm", operand.perm);
    node.inputs = {operand.x};
    node.outputs = {
        rewriter_.graph().add_value(node.name, DType::f32, symbolic(shape_of(operand)))};
    const ValueId result = node.outputs[0];
    rewriter_.insert_after(root_, std::move(node));
    return result;
  }

  void replace(const Signs& q, const Signs& k, const Signs& v) {
    const auto tensor = [](const Scales& scales) {
      const std::vector<float> values(scales.begin(), scales.end());
      return Tensor::of(values, {static_cast<int64_t>(values.size())});
    };
    Node node;
    node.op = internal::kBitAttention;
    node.name = rewriter_.node(root_).name;
    node.scope = rewriter_.node(root_).scope;
    node.attributes.set("score_scales", tensor(product(product(q.scales, k.scales), {factor_})));
    node.attributes.set("map_scales", tensor(map_scales_));
    node.attributes.set("y_scales", tensor(product(map_scales_, v.scales)));
    if (biases_) node.attributes.set("biases", *biases_);
    store_norm(node.attributes, "q", q);
    store_norm(node.attributes, "k", k);
    node.inputs = {arranged(q, ".q"), arranged(k, ".k"), arranged(v, ".v")};
    node.outputs = {rewriter_.node(root_).output(0)};
    rewriter_.replace(absorbed_, std::move(node));
  }

  Rewriter& rewriter_;
  int root_;
  int64_t rank_ = 0;
  int softmax_ = -1;
  int scores_ = -1;
  double factor_ = 1.0;
  std::optional<Tensor> biases_;  // in units of what the softmax reads
  Scales map_scales_;
  std::vector<int> absorbed_;
};

}  // namespace

void fuse_bit_attention(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    if (!rewriter.absorbed(i) && rewriter.node(i).op == "MatMul") {
      AttentionMatcher(rewriter, i).fuse();
    }
  }
  rewriter.finish();
}

}  // namespace ounce::engine
