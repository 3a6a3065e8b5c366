#include <map>

#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

using Table = std::map<std::string_view, OperatorFunction>;

Table make_table() {
  Table table;
  for (const auto family : {activation_operators(),     arithmetic_operators(),
                            bitwise_operators(),        comparison_operators(),
                            convolution_operators(),    detection_operators(),
                            einsum_operators(),         fused_operators(),
                            gather_scatter_operators(), generator_operators(),
                            grid_sample_operators(),    matmul_operators(),
                            normalization_operators(),  pooling_operators(),
                            quantize_operators(),       quantized_compute_operators(),
                            reduce_operators(),         resize_operators(),
                            search_operators(),         shape_operators(),
                            slicing_operators()}) {
    for (const OperatorEntry& entry : family) table.emplace(entry.name, entry.function);
  }
  return table;
}

}  // namespace

OperatorFunction find_operator_function(std::string_view op) {
  static const Table table = make_table();
  const auto found = table.find(op);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace ounce::engine::reference
