#include <algorithm>
#include <numeric>

#include "engine/kernels/attention/log_map.h"
#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/output_chain.h"
#include "graph/ops/log_grid.h"

// Two integer products with a float softmax and a QuantizeLinear or LogQuantize between them become
// one node, whose scores and map exist a block of tokens at a time.
namespace ounce::engine {
namespace {

constexpr int32_t kLargestCode = 255;

/// The node that makes `value` if it has this operator and nobody but `reader` looks at the value.
int only_for(const Rewriter& rewriter, ValueId value, std::string_view op, int reader) {
  const int i = rewriter.producer(value, op);
  return i >= 0 && rewriter.only_consumer(value) == reader ? i : -1;
}

/// The nodes of one attention: the product of q and k, softmax, what quantizes the map (behind a
/// Clip where its codes end early), and the product with v.
struct IntegerAttention {
  int scores = -1, softmax = -1, mix = -1;
  std::vector<int> others;  // what quantizes the map, and the result where `mix` does not
  ValueId v = kNoValue;
  ValueId result = kNoValue;
  AttributeMap attributes;  // of the map and of the result
};

bool is_over_last_axis(const Graph& graph, const Node& softmax) {
  const int64_t axis = softmax.attributes.get_int("axis", -1);
  const auto& shape = graph.value(softmax.input(0)).shape;
  return axis == -1 || (shape && axis == static_cast<int64_t>(shape->size()) - 1);
}

/// q [.., D], k [.., D, keys] and v [.., keys, values] of one batch, none empty. Extents may still
/// be open where the engine is only asked what it could run.
bool have_one_batch(const Graph& graph, ValueId q, ValueId k, ValueId v) {
  const auto& batch = graph.value(q).shape;
  for (const ValueId id : {q, k, v}) {
    const auto& shape = graph.value(id).shape;
    if (graph.value(id).dtype != DType::u8 || !shape || shape->size() != batch->size() ||
        shape->size() < 2 || std::count(shape->begin(), shape->end(), Dim(0)) != 0 ||
        !std::equal(shape->begin(), shape->end() - 2, batch->begin())) {
      return false;
    }
  }
  return true;
}

/// Softmax -> [Clip] -> QuantizeLinear before a product of codes.
bool match_grid(const Rewriter& rewriter, IntegerAttention& found) {
  const Graph& graph = rewriter.graph();
  const Node& mix = rewriter.node(found.mix);
  const int quantize = only_for(rewriter, mix.input(0), "QuantizeLinear", found.mix);
  if (quantize < 0) return false;
  const auto map = tensor_quantization(graph, rewriter.node(quantize), DType::u8);
  if (!map || map->zero_point != mix.attributes.get_int("a_zero_point", 0)) return false;
  ValueId exact = rewriter.node(quantize).input(0);
  int32_t largest = kLargestCode;
  found.others.push_back(quantize);
  if (const int clip = only_for(rewriter, exact, "Clip", quantize); clip >= 0) {
    const auto clamp = activation_of(graph, rewriter.node(clip));
    const CodeRange range = clamp ? code_range(*clamp, *map) : CodeRange();
    if (!clamp || range.lo > map->zero_point) return false;
    largest = range.hi;
    found.others.push_back(clip);
    exact = rewriter.node(clip).input(0);
  }
  found.softmax = only_for(rewriter, exact, "Softmax", found.others.back());
  if (found.softmax < 0) return false;
  found.v = mix.input(1);
  found.result = mix.output(0);
  found.attributes.set("map_scale", map->scale);
  found.attributes.set("map_zero_point", int64_t{map->zero_point});
  found.attributes.set("map_max", int64_t{largest});
  found.attributes.set("v_zero_point", mix.attributes.get_int("b_zero_point", 0));
  for (const char* name : {"product_scale", "y_scale", "y_zero_point", "lo", "hi"}) {
    const auto entry = mix.attributes.entries().find(name);
    if (entry != mix.attributes.entries().end()) found.attributes.set(name, entry->second);
  }
  return true;
}

/// Softmax -> LogQuantize before a product of floats, whose other operand are codes.
bool match_logarithm(const Rewriter& rewriter, IntegerAttention& found) {
  const Node& mix = rewriter.node(found.mix);
  const int quantize = only_for(rewriter, mix.input(0), "LogQuantize", found.mix);
  const auto v = dequantized(rewriter, rewriter.graph(), mix.input(1));
  if (quantize < 0 || !v) return false;
  const AttributeMap& codes = rewriter.node(quantize).attributes;
  const ops::LogGrid grid = ops::log_grid_of(codes);
  found.softmax = only_for(rewriter, rewriter.node(quantize).input(0), "Softmax", quantize);
  if (found.softmax < 0 || grid.bits > kMostLogMapBits) return false;
  found.others.push_back(quantize);
  found.v = v->codes;
  found.result = mix.output(0);
  found.attributes = codes;
  found.attributes.set("bits", int64_t{grid.bits});
  found.attributes.set("v_zero_point", int64_t{v->quantization.zero_point});
  found.attributes.set("product_scale", v->quantization.scale);
  end_in_codes(rewriter, found.result, found.others, found.attributes);
  return true;
}

std::optional<IntegerAttention> match(const Rewriter& rewriter, int mix) {
  const Graph& graph = rewriter.graph();
  const bool on_codes = rewriter.node(mix).op == internal::kQBatchMatMul;
  IntegerAttention found;
  found.mix = mix;
  if (on_codes ? !match_grid(rewriter, found) : !match_logarithm(rewriter, found)) {
    return std::nullopt;
  }
  const Node& softmax = rewriter.node(found.softmax);
  found.scores = only_for(rewriter, softmax.input(0), internal::kQBatchMatMul, found.softmax);
  if (found.scores < 0 || !is_over_last_axis(graph, softmax)) return std::nullopt;
  const Node& scores = rewriter.node(found.scores);
  const bool float_scores = !scores.attributes.has("y_scale");
  if (!float_scores || !have_one_batch(graph, scores.input(0), scores.input(1), found.v)) {
    return std::nullopt;
  }
  return found;
}

/// k [.., D, keys] as [.., keys, D]; reading through strides makes the Transpose disappear.
ValueId key_rows(Rewriter& rewriter, ValueId k, int before) {
  std::vector<int64_t> perm(rewriter.graph().value(k).shape->size());
  std::iota(perm.begin(), perm.end(), 0);
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return rewriter.insert_transpose(before, k, perm, ".k");
}

void fuse(Rewriter& rewriter, const IntegerAttention& found) {
  const AttributeMap scores = rewriter.node(found.scores).attributes;
  Node node = rewriter.successor(found.mix, internal::kQAttention);
  node.attributes = found.attributes;
  node.attributes.set("score_scale", scores.get_float("product_scale", 1.0F));
  node.attributes.set("q_zero_point", scores.get_int("a_zero_point", 0));
  node.attributes.set("k_zero_point", scores.get_int("b_zero_point", 0));
  node.inputs = {rewriter.node(found.scores).input(0),
                 key_rows(rewriter, rewriter.node(found.scores).input(1), found.mix), found.v};
  node.outputs = {found.result};
  std::vector<int> absorbed = {found.scores, found.softmax, found.mix};
  absorbed.insert(absorbed.end(), found.others.begin(), found.others.end());
  rewriter.replace(absorbed, std::move(node));
}

}  // namespace

void fuse_integer_attention(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    const std::string& op = rewriter.node(i).op;
    if (rewriter.absorbed(i) || (op != internal::kQBatchMatMul && op != "MatMul")) continue;
    if (const auto found = match(rewriter, i)) fuse(rewriter, *found);
  }
  rewriter.finish();
}

}  // namespace ounce::engine
