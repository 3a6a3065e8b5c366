#include "engine/lowering/lower.h"

#include "engine/lowering/strided_view.h"

namespace ounce::engine {

void lower_quantized(Graph& graph) {
  make_activations_unsigned(graph);
  sink_dequantize(graph);
  fuse_bit_products(graph);  // first: a residual and what follows it go to the product of bits
  fuse_bit_attention(graph);
  fuse_bit_batch_products(graph);  // of what attention as one step leaves
  fuse_integer_products(graph);
  fuse_integer_elementwise(graph);
  fuse_code_products(graph);
  fuse_dynamic_products(graph);
  graph.remove_dead();  // weights that kernels read as codes need not become floats
  fuse_integer_attention(graph);
}

void lower(Graph& graph) {
  lower_quantized(graph);
  fold_dequantized_constants(graph);
  fuse_float(graph);
  absorb_clamps(graph);
  graph.remove_dead();
  assign_layout(graph);
  graph.remove_dead();
  pack_bit_operands(graph);
  absorb_views(graph);
  pack_attention_signs(graph);
  graph.remove_dead();
}

}  // namespace ounce::engine
