#include <algorithm>
#include <numeric>

#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/quantized_view.h"

// Two integer products with a float softmax and a QuantizeLinear between them become one node,
// whose scores and map exist a block of tokens at a time.
namespace ounce::engine {
namespace {

Shape shape_of(const Graph& graph, ValueId id) {
  return *concrete(*graph.value(id).shape);
}

/// The node that makes `value` if it has this operator and nobody but `reader` looks at the value.
int only_for(const Rewriter& rewriter, ValueId value, std::string_view op, int reader) {
  const int i = rewriter.producer(value, op);
  return i >= 0 && rewriter.only_consumer(value) == reader ? i : -1;
}

/// The nodes of one attention: the product of q and k, softmax, quantization, product with v.
struct IntegerAttention {
  int scores = -1, softmax = -1, quantize = -1, mix = -1;
};

bool is_over_last_axis(const Graph& graph, const Node& softmax) {
  const int64_t axis = softmax.attributes.get_int("axis", -1);
  const auto rank = static_cast<int64_t>(shape_of(graph, softmax.input(0)).size());
  return axis == -1 || axis == rank - 1;
}

/// q [.., D], k [.., D, keys] and v [.., keys, values] of one batch, none empty.
bool have_one_batch(const Graph& graph, ValueId q, ValueId k, ValueId v) {
  const Shape batch = shape_of(graph, q);
  for (const ValueId id : {q, k, v}) {
    const Shape shape = shape_of(graph, id);
    if (graph.value(id).dtype != DType::u8 || shape.size() != batch.size() || shape.size() < 2 ||
        element_count(shape) == 0 || !std::equal(shape.begin(), shape.end() - 2, batch.begin())) {
      return false;
    }
  }
  return true;
}

std::optional<IntegerAttention> match(const Rewriter& rewriter, int mix) {
  const Graph& graph = rewriter.graph();
  IntegerAttention found;
  found.mix = mix;
  found.quantize = only_for(rewriter, rewriter.node(mix).input(0), "QuantizeLinear", mix);
  if (found.quantize < 0) return std::nullopt;
  const Node& quantize = rewriter.node(found.quantize);
  found.softmax = only_for(rewriter, quantize.input(0), "Softmax", found.quantize);
  if (found.softmax < 0) return std::nullopt;
  const Node& softmax = rewriter.node(found.softmax);
  found.scores = only_for(rewriter, softmax.input(0), internal::kQBatchMatMul, found.softmax);
  if (found.scores < 0 || !is_over_last_axis(graph, softmax)) return std::nullopt;
  const Node& scores = rewriter.node(found.scores);
  const bool float_scores = !scores.attributes.has("y_scale");
  if (!float_scores ||
      !have_one_batch(graph, scores.input(0), scores.input(1), rewriter.node(mix).input(1))) {
    return std::nullopt;
  }
  return found;
}

/// k [.., D, keys] as [.., keys, D]; reading through strides makes the Transpose disappear.
ValueId key_rows(Rewriter& rewriter, ValueId k, int before) {
  std::vector<int64_t> perm(shape_of(rewriter.graph(), k).size());
  std::iota(perm.begin(), perm.end(), 0);
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return rewriter.insert_transpose(before, k, perm, ".k");
}

void fuse(Rewriter& rewriter, const IntegerAttention& found) {
  const auto map = tensor_quantization(rewriter.graph(), rewriter.node(found.quantize), DType::u8);
  const AttributeMap scores = rewriter.node(found.scores).attributes;
  const AttributeMap mix = rewriter.node(found.mix).attributes;
  if (!map || map->zero_point != mix.get_int("a_zero_point", 0)) return;
  Node node = rewriter.successor(found.mix, internal::kQAttention);
  AttributeMap& attributes = node.attributes;
  attributes.set("score_scale", scores.get_float("product_scale", 1.0F));
  attributes.set("q_zero_point", scores.get_int("a_zero_point", 0));
  attributes.set("k_zero_point", scores.get_int("b_zero_point", 0));
  attributes.set("map_scale", map->scale);
  attributes.set("map_zero_point", int64_t{map->zero_point});
  attributes.set("v_zero_point", mix.get_int("b_zero_point", 0));
  for (const char* name : {"product_scale", "y_scale", "y_zero_point"}) {
    const auto entry = mix.entries().find(name);
    if (entry != mix.entries().end()) attributes.set(name, entry->second);
  }
  node.inputs = {rewriter.node(found.scores).input(0),
                 key_rows(rewriter, rewriter.node(found.scores).input(1), found.mix),
                 rewriter.node(found.mix).input(1)};
  node.outputs = {rewriter.node(found.mix).output(0)};
  rewriter.replace({found.scores, found.softmax, found.quantize, found.mix}, std::move(node));
}

}  // namespace

void fuse_integer_attention(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    if (rewriter.absorbed(i) || rewriter.node(i).op != internal::kQBatchMatMul) continue;
    if (const auto found = match(rewriter, i)) fuse(rewriter, *found);
  }
  rewriter.finish();
}

}  // namespace ounce::engine
