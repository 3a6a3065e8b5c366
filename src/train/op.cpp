#include "train/op.h"

#include <map>

#include "graph/error.h"
#include "train/ops/families.h"

namespace ounce::train {
namespace {

using Table = std::map<std::string_view, OpFunction>;

const Table& table() {
  static const Table rows = [] {
    Table result;
    for (const ops::Family family :
         {ops::activation_ops(), ops::elementwise_ops(), ops::gather_ops(), ops::generator_ops(),
          ops::normalization_ops(), ops::pooling_ops(), ops::product_ops(), ops::quantize_ops(),
          ops::reduce_ops(), ops::resample_ops(), ops::shape_ops()}) {
      for (const OpRow& row : family) result.emplace(row.name, row.run);
    }
    return result;
  }();
  return rows;
}

}  // namespace

const at::Tensor& OpCall::input(size_t i) const {
  if (!has(i)) throw Error("operand " + std::to_string(i) + " is missing");
  return inputs[i];
}

std::vector<int64_t> OpCall::integers(size_t i) const {
  const at::Tensor content = input(i).detach().to(at::kCPU, at::kLong).contiguous().flatten();
  const auto* first = content.data_ptr<int64_t>();
  return {first, first + content.numel()};
}

OpFunction find_op(std::string_view op) {
  const auto found = table().find(op);
  return found == table().end() ? nullptr : found->second;
}

std::vector<OpRow> all_ops() {
  std::vector<OpRow> rows;
  for (const auto& [name, run] : table()) rows.push_back({name, run});
  return rows;
}

}  // namespace ounce::train
