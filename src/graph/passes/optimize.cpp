#include "graph/passes/passes.h"

namespace ounce {
namespace {

struct Pass {
  std::string_view name;
  int (*run)(Graph&);
};

/// Normalisations before activations and attention: their Mul and Add must not be taken for
/// others'.
constexpr Pass kPasses[] = {
    {"eliminate_no_ops", eliminate_no_ops},
    {"merge_common_subexpressions", merge_common_subexpressions},
    {"fold_batch_norm", fold_batch_norm},
    {"lower_batch_norm", lower_batch_norm},
    {"fuse_layer_norm", fuse_layer_norm},
    {"fuse_rms_norm", fuse_rms_norm},
    {"fuse_gelu", fuse_gelu},
    {"fuse_hard_swish", fuse_hard_swish},
    {"fuse_mish", fuse_mish},
    {"fuse_silu", fuse_silu},
    {"fuse_attention", fuse_attention},
    {"eliminate_no_ops", eliminate_no_ops},
    {"remove_dead_nodes", remove_dead_nodes},
};

}  // namespace

std::vector<PassResult> optimize(Graph& graph, const Evaluator& evaluator) {
  std::vector<PassResult> results = {{"fold_constants", fold_constants(graph, evaluator)}};
  for (const Pass& pass : kPasses) results.push_back({pass.name, pass.run(graph)});
  // New nodes have no shapes yet.
  InferOptions options;
  options.evaluator = &evaluator;
  infer_shapes(graph, options);
  return results;
}

}  // namespace ounce
