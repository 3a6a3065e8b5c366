#include "engine/lowering/binary_operand.h"
#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"

// Binarize(a) Binarize(b), both activations, becomes one node: what attention as one step leaves,
// its scores or map being looked at, say.
namespace ounce::engine {
namespace {

void fuse(Rewriter& rewriter, int i) {
  const auto a = binary_operand(rewriter, rewriter.node(i).input(0));
  const auto b = binary_operand(rewriter, rewriter.node(i).input(1));
  if (!a || !b || !b->map_scales.empty()) return;
  Node node = rewriter.successor(i, internal::kBitBatchMatMul);
  if (!a->map_scales.empty()) node.attributes.set("map_scales", scales_tensor(a->map_scales));
  node.attributes.set("product_scales", scales_tensor(product(a->scales, b->scales)));
  node.inputs = {arranged(rewriter, i, *a, ".a"), arranged(rewriter, i, *b, ".b")};
  node.outputs = {rewriter.node(i).output(0)};
  rewriter.replace({i}, std::move(node));
}

}  // namespace

void fuse_bit_batch_products(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    if (rewriter.node(i).op == "MatMul") fuse(rewriter, i);
  }
  rewriter.finish();
}

}  // namespace ounce::engine
