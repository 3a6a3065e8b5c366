#include <array>
#include <map>

#include "graph/error.h"
#include "graph/ops/einsum.h"
#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"

namespace ounce::ops {
namespace {

/// numpy matmul: the last two dimensions multiply, those before broadcast; vectors lend a
/// dimension.
std::optional<SymbolicShape> matmul_shape(const SymbolicShape* a, const SymbolicShape* b) {
  if (a == nullptr || b == nullptr) return std::nullopt;
  require_min_rank(*a, 1, "left operand");
  require_min_rank(*b, 1, "right operand");
  const bool a_vector = a->size() == 1;
  const bool b_vector = b->size() == 1;
  unified(a->back(), b_vector ? b->front() : (*b)[b->size() - 2],
          "inner dimensions of " + to_string(*a) + " x " + to_string(*b));
  const auto batch = [](const SymbolicShape& shape) {
    return shape.size() <= 2 ? SymbolicShape{} : SymbolicShape(shape.begin(), shape.end() - 2);
  };
  SymbolicShape y = broadcast(batch(*a), batch(*b));
  if (!a_vector) y.push_back((*a)[a->size() - 2]);
  if (!b_vector) y.push_back(b->back());
  return y;
}

void infer_matmul(InferenceContext& context) {
  set_output(context, 0, context.dtype(0), matmul_shape(context.shape(0), context.shape(1)));
}

void infer_matmul_integer(InferenceContext& context) {
  set_output(context, 0, DType::i32, matmul_shape(context.shape(0), context.shape(1)));
}

void infer_qlinear_matmul(InferenceContext& context) {
  set_output(context, 0, context.dtype(7), matmul_shape(context.shape(0), context.shape(3)));
}

void infer_gemm(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* a = context.shape(0);
  const SymbolicShape* b = context.shape(1);
  if (a == nullptr || b == nullptr) return;
  require_rank(*a, 2, "left operand");
  require_rank(*b, 2, "right operand");
  const bool trans_a = context.attributes().get_int("transA", 0) != 0;
  const bool trans_b = context.attributes().get_int("transB", 0) != 0;
  unified((*a)[trans_a ? 0 : 1], (*b)[trans_b ? 1 : 0], "inner dimensions");
  SymbolicShape y = {(*a)[trans_a ? 1 : 0], (*b)[trans_b ? 0 : 1]};
  if (const SymbolicShape* c = context.shape(2)) {
    const SymbolicShape sum = broadcast(y, *c);
    const bool grows = sum.size() != 2 || (y[0].known() && sum[0].known() && sum[0] != y[0]) ||
                       (y[1].known() && sum[1].known() && sum[1] != y[1]);
    if (grows) throw Error("bias " + to_string(*c) + " does not broadcast to " + to_string(y));
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

/// Gives every label its dimension; the ellipsis its broadcast dimensions.
struct EinsumDims {
  std::map<char, Dim> labels;
  SymbolicShape ellipsis;

  void add(const std::string& term, const SymbolicShape& shape) {
    const size_t named = term.size() - (term.find('.') != std::string::npos ? 1 : 0);
    const bool fits = named == term.size() ? shape.size() == named : shape.size() >= named;
    if (!fits) throw Error("Einsum term does not fit the operand shape " + to_string(shape));
    size_t d = 0;
    for (const char label : term) {
      if (label == '.') {
        const size_t count = shape.size() - named;
        const auto begin = shape.begin() + static_cast<std::ptrdiff_t>(d);
        ellipsis =
            broadcast(ellipsis, SymbolicShape(begin, begin + static_cast<std::ptrdiff_t>(count)));
        d += count;
        continue;
      }
      const Dim& dim = shape[d++];
      const auto [entry, is_new] = labels.try_emplace(label, dim);
      if (is_new) continue;
      // As in numpy, an extent of 1 stretches.
      if (entry->second == Dim(1)) {
        entry->second = dim;
      } else if (!(dim == Dim(1))) {
        entry->second = unified(entry->second, dim, "extents of an Einsum label");
      }
    }
  }
};

void infer_einsum(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const Einsum einsum = parse_einsum(context.attributes().get_string("equation", ""));
  if (einsum.inputs.size() != context.input_count()) {
    throw Error("Einsum equation has " + std::to_string(einsum.inputs.size()) + " terms for " +
                std::to_string(context.input_count()) + " operands");
  }
  EinsumDims dims;
  for (size_t i = 0; i < einsum.inputs.size(); ++i) {
    if (context.shape(i) == nullptr) return;
    dims.add(einsum.inputs[i], *context.shape(i));
  }
  SymbolicShape y;
  for (const char label : einsum.output) {
    if (label == '.') {
      y.insert(y.end(), dims.ellipsis.begin(), dims.ellipsis.end());
    } else {
      y.push_back(dims.labels.at(label));
    }
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

Cost matmul_cost_of(const Value& a, const Value& y) {
  const Shape shape = shape_of(a);
  return {.macs = saturating_product(elements(y), shape.empty() ? 1 : shape.back())};
}

Cost matmul_cost(const Node&, std::span<const Value* const> inputs,
                 std::span<const Value* const> outputs) {
  return matmul_cost_of(*inputs[0], *outputs[0]);
}

Cost gemm_cost(const Node& node, std::span<const Value* const> inputs,
               std::span<const Value* const> outputs) {
  const Shape a = shape_of(*inputs[0]);
  const int64_t inner = a[node.attributes.get_int("transA", 0) != 0 ? 0 : 1];
  return {.macs = saturating_product(elements(*outputs[0]), inner)};
}

/// Every combination of labels is one multiply-accumulate.
Cost einsum_cost(const Node& node, std::span<const Value* const> inputs,
                 std::span<const Value* const>) {
  const Einsum einsum = parse_einsum(node.attributes.get_string("equation", ""));
  EinsumDims dims;
  for (size_t i = 0; i < inputs.size(); ++i) dims.add(einsum.inputs[i], *inputs[i]->shape);
  int64_t macs = 1;
  for (const Dim& dim : dims.ellipsis) macs = saturating_product(macs, dim.value);
  for (const auto& [label, dim] : dims.labels) macs = saturating_product(macs, dim.value);
  return {.macs = macs};
}

const OperatorSchema kRows[] = {
    {.name = "Einsum",
     .max_inputs = kVariadic,
     .since_opset = 12,
     .infer = infer_einsum,
     .cost = einsum_cost},
    {.name = "Gemm",
     .min_inputs = 2,
     .max_inputs = 3,
     .since_opset = 11,
     .infer = infer_gemm,
     .cost = gemm_cost},
    {.name = "MatMul",
     .min_inputs = 2,
     .max_inputs = 2,
     .since_opset = 9,
     .infer = infer_matmul,
     .cost = matmul_cost},
    {.name = "MatMulInteger",
     .min_inputs = 2,
     .max_inputs = 4,
     .since_opset = 10,
     .infer = infer_matmul_integer,
     .cost = matmul_cost},
    {.name = "QLinearMatMul",
     .min_inputs = 8,
     .max_inputs = 8,
     .since_opset = 10,
     .infer = infer_qlinear_matmul,
     .cost = matmul_cost},
};

}  // namespace

Family matmul_operators() {
  return kRows;
}

}  // namespace ounce::ops
