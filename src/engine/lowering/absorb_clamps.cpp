#include "engine/lowering/activation.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/output_chain.h"
#include "engine/lowering/quantized_view.h"
#include "engine/lowering/rewriter.h"

namespace ounce::engine {

void absorb_clamps(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    const auto clamp = activation_of(graph, rewriter.node(i));
    if (!clamp || (clamp->kind != Activation::kClip && clamp->kind != Activation::kRelu)) continue;
    const int quantize = rewriter.only_consumer(rewriter.node(i).output(0), "QuantizeLinear");
    if (quantize < 0) continue;
    const auto codes = tensor_quantization(graph, rewriter.node(quantize), DType::u8);
    if (!codes) continue;
    const CodeRange range = code_range(*clamp, *codes);
    Node fused = rewriter.node(quantize);
    fused.inputs[0] = rewriter.node(i).input(0);
    fused.attributes.set("lo", int64_t{range.lo});
    fused.attributes.set("hi", int64_t{range.hi});
    rewriter.replace({i, quantize}, std::move(fused));
  }
  rewriter.finish();
}

}  // namespace ounce::engine
