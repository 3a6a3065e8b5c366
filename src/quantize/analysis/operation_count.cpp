#include "quantize/analysis/operation_count.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "graph/operator.h"
#include "quantize/analysis/chosen_grid.h"

namespace ounce::quantize {
namespace {

constexpr int kFloatBits = 32;
constexpr int kCodeBits = 8;

template <size_t N>
bool is_one_of(const Node& node, const std::array<std::string_view, N>& ops) {
  return std::find(ops.begin(), ops.end(), node.op) != ops.end();
}

/// What hands numbers on as they are.
bool moves_data(const Node& node) {
  static constexpr std::array<std::string_view, 16> kMoves = {
      "Concat",  "DepthToSpace", "Expand",    "Flatten", "Gather", "Identity",
      "MaxPool", "Pad",          "Reshape",   "Slice",   "Split",  "SpaceToDepth",
      "Squeeze", "Transpose",    "Unsqueeze", "Tile"};
  return is_one_of(node, kMoves);
}

/// What costs nothing: moving data, and the numbers that codes stand for.
bool is_free(const Node& node) {
  return node.op == "DequantizeLinear" || (moves_data(node) && node.op != "MaxPool");
}

/// How wide the operands of products are.
class OperandBits {
 public:
  explicit OperandBits(const Graph& graph) : graph_(graph), index_(graph) {}

  int of(ValueId id) const {
    const Value& value = graph_.value(id);
    if (is_integer(value.dtype)) return std::min(bits_of(value.dtype), kCodeBits);
    const int producer = index_.producer(id);
    if (producer < 0) return kFloatBits;
    const Node& node = graph_.nodes[static_cast<size_t>(producer)];
    if (moves_data(node)) return of_moved(node);
    if (node.op == "DequantizeLinear") return of_codes(node.input(0));
    if (node.op == "Binarize") return 1;
    if (node.op == "DynamicFakeQuant" || node.op == "LogQuantize") {
      return static_cast<int>(node.attributes.get_int("bits", kCodeBits));
    }
    return kFloatBits;
  }

 private:
  int of_codes(ValueId id) const {
    const int producer = index_.producer(id);
    if (producer < 0) return of(id);
    const Node& node = graph_.nodes[static_cast<size_t>(producer)];
    if (moves_data(node)) return of_codes(node.input(0));
    if (node.op != "QuantizeLinear") return of(id);
    const auto grid = chosen_grid(graph_, index_, producer);
    // Numbers that lie on a grid of fewer bits already get no more codes: a concatenation's.
    return std::min(grid ? grid->bits : of(id), of(node.input(0)));
  }

  int of_moved(const Node& node) const {
    int bits = of(node.input(0));
    if (node.op != "Concat") return bits;
    for (const ValueId id : node.inputs) bits = std::max(bits, of(id));
    return bits;
  }

  const Graph& graph_;
  GraphIndex index_;
};

/// The wider of the operands whose products are added up: the first float inputs of a node.
int product_bits(const OperandBits& operands, const Node& node) {
  if (node.op == "QLinearConv" || node.op == "QLinearMatMul") {
    return std::max(operands.of(node.input(0)), operands.of(node.input(3)));
  }
  return std::max(operands.of(node.input(0)), operands.of(node.input(1)));
}

/// Computed when the model is read.
bool is_constant(const Graph& graph, const Node& node) {
  return std::all_of(node.outputs.begin(), node.outputs.end(),
                     [&](ValueId id) { return id == kNoValue || graph.value(id).is_constant(); });
}

}  // namespace

double operation_share(int bits) {
  if (bits > kCodeBits) return 1.0;
  if (bits > 4) return 0.25;
  return 1.0 / (1 << (7 - bits));
}

std::optional<OperationCount> count_operations(const Graph& graph) {
  const OperandBits operands(graph);
  OperationCount count;
  for (const Node& node : graph.nodes) {
    if (is_constant(graph, node) || is_free(node)) continue;
    if (!shapes_known(graph, node)) return std::nullopt;
    const Cost cost = cost_of(graph, node);
    count.others += static_cast<double>(cost.ops);
    if (cost.macs == 0) continue;
    count.products +=
        static_cast<double>(cost.macs) * operation_share(product_bits(operands, node));
  }
  return count;
}

}  // namespace ounce::quantize
