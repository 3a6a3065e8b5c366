#include "graph/product.h"

namespace ounce {

bool is_plain_product(const Node& node) {
  if (node.op == "MatMul") return true;
  const AttributeMap& attributes = node.attributes;
  return node.op == "Gemm" && attributes.get_int("transA", 0) == 0 &&
         attributes.get_float("alpha", 1) == 1.0F && attributes.get_float("beta", 1) == 1.0F;
}

bool weights_are_n_by_k(const Node& node) {
  return node.op == "Gemm" && node.attributes.get_int("transB", 0) != 0;
}

}  // namespace ounce
