#include <algorithm>
#include <cmath>

#include "engine/kernels/attention/attention_bits.h"
#include "engine/lowering/binary_operand.h"
#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"

// Binarize(q) Binarize(k)' * scale + biases -> Softmax -> unsigned Binarize -> times Binarize(v)
// becomes one node; the biases are constants, or none. Scores and map exist only inside of it:
// where one of them is an output (a tap, say), the parts run one by one.
namespace ounce::engine {
namespace {

/// Signs of `x`, normalized before by the node `norm`.
struct Signs : BinaryOperand {
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
      if (const auto scaled = scaling(rewriter_, value)) {
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

  std::optional<Signs> signs(ValueId value) const {
    auto operand = binary_operand(rewriter_, value);
    if (!operand || !operand->map_scales.empty() ||
        static_cast<int64_t>(operand->perm.size()) != rank_) {
      return std::nullopt;
    }
    return Signs{std::move(*operand)};
  }

  /// Takes a layer normalization over the elements of each head into the operand.
  void take_norm(Signs& operand) const {
    const int i = rewriter_.producer(operand.x, "LayerNormalization");
    if (i < 0 || operand.perm.back() != rank_ - 1) return;
    const Node& node = rewriter_.node(i);
    const int64_t axis = node.attributes.get_int("axis", -1);
    if (axis != -1 && axis != rank_ - 1) return;
    const int64_t head_dim = shape_of(graph(), operand).back();
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

  bool fits_kernel(const Signs& q, const Signs& k, const Signs& v) const {
    const Shape q_shape = shape_of(graph(), q);
    for (const Signs* operand : {&k, &v}) {
      const Shape shape = shape_of(graph(), *operand);
      if (!std::equal(shape.begin(), shape.end() - 2, q_shape.begin())) return false;
    }
    return q_shape.back() <= kMostBitHeadDim && fit_biases(q_shape, shape_of(graph(), k));
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

  void replace(const Signs& q, const Signs& k, const Signs& v) {
    Node node = rewriter_.successor(root_, internal::kBitAttention);
    node.attributes.set("score_scales",
                        scales_tensor(product(product(q.scales, k.scales), {factor_})));
    node.attributes.set("map_scales", scales_tensor(map_scales_));
    node.attributes.set("y_scales", scales_tensor(product(map_scales_, v.scales)));
    if (biases_) node.attributes.set("biases", *biases_);
    store_norm(node.attributes, "q", q);
    store_norm(node.attributes, "k", k);
    node.inputs = {arranged(rewriter_, root_, q, ".q"), arranged(rewriter_, root_, k, ".k"),
                   arranged(rewriter_, root_, v, ".v")};
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
