#pragma once

#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "graph/operator.h"

/// Rewrites that keep what a graph computes. Each returns the number of rewrites it made. A fused
/// node keeps name and scope of the last node it replaces, and the name of that node's output.
/// Q/DQ nodes are borders that nothing is fused across.
namespace ounce {

/// Computes nodes with constant inputs, and shape arithmetic where shapes are known. Results that
/// are both large and more than twice their inputs are left to the run.
int fold_constants(Graph& graph, const Evaluator& evaluator);

/// Removes nodes that change nothing: Identity, Dropout, Cast to the same type, Reshape and kin to
/// the same shape, Slice of everything; joins Reshape and Transpose chains.
int eliminate_no_ops(Graph& graph);

/// Makes nodes of equal operator, inputs and attributes one. Leaves Q/DQ alone: their pairs belong
/// to the nodes they wrap.
int merge_common_subexpressions(Graph& graph);

/// Folds BatchNormalization, and per-channel constant Mul/Div/Add/Sub, into the Conv,
/// ConvTranspose, Gemm or MatMul (and its bias) before them: also the LayerScale of a transformer.
int fold_batch_norm(Graph& graph);
/// Turns each remaining BatchNormalization into a Mul and an Add by constants.
int lower_batch_norm(Graph& graph);

int fuse_layer_norm(Graph& graph);
int fuse_rms_norm(Graph& graph);
int fuse_gelu(Graph& graph);        // erf and tanh form
int fuse_silu(Graph& graph);        // x * Sigmoid(x)
int fuse_hard_swish(Graph& graph);  // HardSigmoid and HardSwish from Add, Clip, Mul, Div
int fuse_mish(Graph& graph);        // x * Tanh(Softplus(x))
/// MatMul, scale, mask, Softmax, MatMul -> Attention, with the scale on either side of the product
/// and k transposed anywhere.
int fuse_attention(Graph& graph);

int remove_dead_nodes(Graph& graph);

/// Writes fused operators in plain ONNX again: every operator of domain "ounce", and those that
/// `target_opset` does not have (LayerNormalization below 17, Gelu below 20, Mish below 18,
/// HardSwish below 14, GroupNormalization below 21).
int expand_fused(Graph& graph, int target_opset = 21);

/// Finds quantizers of domain "ounce" again that `expand_fused` wrote in ONNX operators:
/// DynamicFakeQuant, Binarize (with a scale along an axis where the shape of its input is known),
/// LogQuantize. What rounds otherwise stays as it is.
int fuse_dynamic_fake_quant(Graph& graph);
int fuse_binarize(Graph& graph);
int fuse_log_quantize(Graph& graph);

/// A pass of `optimize` and what it did.
struct PassResult {
  std::string_view name;
  int rewrites = 0;
};

/// All of the above that make a graph smaller and faster, in a good order, until shapes are
/// inferred again. The graph's interface (inputs, outputs, their names) stays.
std::vector<PassResult> optimize(Graph& graph, const Evaluator& evaluator);

}  // namespace ounce
