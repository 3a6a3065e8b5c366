#include "graph/error.h"
#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"
#include "graph/ops/window.h"

namespace ounce::ops {
namespace {

void infer_pool(InferenceContext& context) {
  const SymbolicShape* x = context.shape(0);
  context.set_output(0, context.dtype(0));
  context.set_output(1, DType::i64);
  if (x == nullptr) return;
  require_min_rank(*x, 3, "input");
  const size_t spatial = x->size() - 2;
  Window window = read_window(context.node(), spatial);
  SymbolicShape y = *x;
  for (size_t i = 0; i < spatial; ++i) {
    y[i + 2] = (*x)[i + 2].known() ? Dim(resolve_forward(window, window.axes[i], (*x)[i + 2].value))
                                   : Dim();
  }
  context.set_output(1, DType::i64, y);
  context.set_output(0, context.dtype(0), std::move(y));
}

void infer_global_pool(InferenceContext& context) {
  const SymbolicShape* x = context.shape(0);
  context.set_output(0, context.dtype(0));
  if (x == nullptr) return;
  require_min_rank(*x, 2, "input");
  SymbolicShape y(x->size(), Dim(1));
  y[0] = (*x)[0];
  y[1] = (*x)[1];
  context.set_output(0, context.dtype(0), std::move(y));
}

Cost pool_cost(const Node& node, std::span<const Value* const> inputs,
               std::span<const Value* const> outputs) {
  int64_t window = 1;
  for (const WindowAxis& axis : read_window(node, shape_of(*inputs[0]).size() - 2).axes) {
    window = saturating_product(window, axis.kernel);
  }
  return {.ops = saturating_product(elements(*outputs[0]), window)};
}

Cost global_pool_cost(const Node&, std::span<const Value* const> inputs,
                      std::span<const Value* const>) {
  return {.ops = elements(*inputs[0])};
}

OperatorSchema global_pool(std::string_view name) {
  return {.name = name, .infer = infer_global_pool, .cost = global_pool_cost};
}

const OperatorSchema kRows[] = {
    {.name = "AveragePool", .since_opset = 11, .infer = infer_pool, .cost = pool_cost},
    {.name = "LpPool", .since_opset = 11, .infer = infer_pool, .cost = pool_cost},
    {.name = "MaxPool",
     .max_outputs = 2,
     .since_opset = 12,
     .infer = infer_pool,
     .cost = pool_cost},
    global_pool("GlobalAveragePool"),
    global_pool("GlobalLpPool"),
    global_pool("GlobalMaxPool"),
};

}  // namespace

Family pooling_operators() {
  return kRows;
}

}  // namespace ounce::ops
