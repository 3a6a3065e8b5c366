// Operators of our own, in the domain "ounce": what passes recognise and the engine computes in one
// go. `expand_fused` (graph/passes/passes.h) writes each of them in ONNX operators again.
#include "graph/error.h"
#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"

namespace ounce::ops {
namespace {

SymbolicShape leading(const SymbolicShape& shape) {
  return SymbolicShape(shape.begin(), shape.end() - 2);
}

/// y = softmax(q kT * scale + mask) v with
/// q [..., tokens, head_dim], k [..., keys, head_dim], v [..., keys, value_dim],
/// mask broadcast to [..., tokens, keys], y [..., tokens, value_dim].
/// Attribute scale: float, default 1 / sqrt(head_dim).
void infer_attention(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* q = context.shape(0);
  const SymbolicShape* k = context.shape(1);
  const SymbolicShape* v = context.shape(2);
  if (q == nullptr || k == nullptr || v == nullptr) return;
  for (const SymbolicShape* operand : {q, k, v}) require_min_rank(*operand, 2, "operand");
  unified(q->back(), k->back(), "head dimensions of q and k");
  const Dim keys = unified((*k)[k->size() - 2], (*v)[v->size() - 2], "tokens of k and v");
  SymbolicShape map = broadcast(leading(*q), leading(*k));
  map.push_back((*q)[q->size() - 2]);
  map.push_back(keys);
  if (const SymbolicShape* mask = context.shape(3)) {
    const size_t rank = map.size();
    if (broadcast(map, *mask).size() != rank) {
      throw Error("mask " + to_string(*mask) + " does not broadcast to " + to_string(map));
    }
  }
  SymbolicShape y = broadcast(leading(map), leading(*v));
  y.push_back((*q)[q->size() - 2]);
  y.push_back(v->back());
  context.set_output(0, context.dtype(0), std::move(y));
}

/// Both products, and softmax (three operations) with scale (and mask) on the map.
Cost attention_cost(const Node&, std::span<const Value* const> inputs,
                    std::span<const Value* const> outputs) {
  const Shape q = shape_of(*inputs[0]);
  const Shape k = shape_of(*inputs[1]);
  const Shape y = shape_of(*outputs[0]);
  int64_t map = saturating_product(q[q.size() - 2], k[k.size() - 2]);
  for (size_t i = 0; i + 2 < y.size(); ++i) map = saturating_product(map, y[i]);
  const bool has_mask = inputs.size() > 3 && inputs[3] != nullptr;
  return {.macs = saturating_product(map, q.back() + y.back()),
          .ops = saturating_product(map, has_mask ? 5 : 4)};
}

/// Rotates pairs of features of x [..., tokens, head_dim] by angles whose cos and sin broadcast to
/// [..., tokens, head_dim / 2]. Pairs are (i, i + head_dim / 2), or (2i, 2i + 1) with
/// `interleaved`.
void infer_rotary(InferenceContext& context) {
  infer_same_as_input(context);
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  require_min_rank(*x, 2, "input");
  if (x->back().known() && x->back().value % 2 != 0) {
    throw Error("head dimension " + std::to_string(x->back().value) + " is odd");
  }
  for (const size_t input : {size_t{1}, size_t{2}}) {
    const SymbolicShape* angles = context.shape(input);
    if (angles == nullptr) continue;
    require_min_rank(*angles, 1, "angles");
    SymbolicShape half = *x;
    half.back() = x->back().known() ? Dim(x->back().value / 2) : Dim();
    unified(angles->back(), half.back(), "angles and half the head dimension");
    if (broadcast(half, *angles).size() != half.size()) {
      throw Error("angles " + to_string(*angles) + " do not broadcast to " + to_string(half));
    }
  }
}

/// Two multiplications and an addition an element.
Cost rotary_cost(const Node&, std::span<const Value* const> inputs, std::span<const Value* const>) {
  return {.ops = saturating_product(elements(*inputs[0]), 3)};
}

const OperatorSchema kRows[] = {
    {.name = "Attention",
     .domain = "ounce",
     .min_inputs = 3,
     .max_inputs = 4,
     .infer = infer_attention,
     .cost = attention_cost},
    {.name = "RotaryEmbedding",
     .domain = "ounce",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_rotary,
     .cost = rotary_cost},
    {.name = "Silu", .domain = "ounce", .infer = infer_same_as_input},
};

}  // namespace

Family fused_operators() {
  return kRows;
}

}  // namespace ounce::ops
