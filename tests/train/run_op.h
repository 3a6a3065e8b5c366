#pragma once

#include <vector>

#include "graph/graph.h"
#include "train/op.h"
#include "train/tensor.h"

namespace ounce::testing {

/// A node on libtorch. Operands that are undefined are omitted ones; tensors of the graph tell the
/// types that their libtorch forms do not show.
inline std::vector<at::Tensor> run_on_torch(const Node& node, const std::vector<at::Tensor>& inputs,
                                            bool training = false,
                                            const std::vector<DType>& dtypes = {}) {
  const train::OpFunction run = train::find_op(node.op);
  if (run == nullptr) throw Error("operator " + node.op + " is not in the table");
  return run({node, inputs, training, dtypes});
}

/// The same with f32 operands widened to `floats`.
inline std::vector<at::Tensor> run_on_torch(const Node& node, const std::vector<Tensor>& inputs,
                                            at::ScalarType floats = at::kFloat) {
  std::vector<at::Tensor> operands;
  std::vector<DType> dtypes;
  for (const Tensor& input : inputs) {
    at::Tensor operand = input.defined() ? train::to_torch(input) : at::Tensor();
    if (input.dtype() == DType::f32) operand = operand.to(floats);
    operands.push_back(operand);
    dtypes.push_back(input.dtype());
  }
  return run_on_torch(node, operands, false, dtypes);
}

}  // namespace ounce::testing
