#include <algorithm>
#include <map>
#include <tuple>

#include "engine/kernels/bits/bit_planes.h"
#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/quantized_view.h"

namespace ounce::engine {
namespace {

bool is_bit_product(const Node& node) {
  return node.op == internal::kBitConv || node.op == internal::kBitMatMul;
}

std::vector<float> shift_of(const Node& node) {
  const Tensor* shift = node.attributes.get_tensor("x_shift");
  return shift != nullptr ? shift->to_f32() : std::vector<float>{};
}

/// What decides the bits of a value. Signs do not depend on the scale.
using Packing = std::tuple<ValueId, bool, float, std::vector<float>>;

Packing packing_of(const Node& node) {
  const bool is_map = node.attributes.get_int("is_map", 0) != 0;
  const float scale = is_map ? node.attributes.get_float("x_scale", 1.0F) : 1.0F;
  return {node.input(0), is_map, scale, shift_of(node)};
}

class BitPacker {
 public:
  explicit BitPacker(Graph& graph) : graph_(graph) {}

  void run() {
    if (std::none_of(graph_.nodes.begin(), graph_.nodes.end(), is_bit_product)) return;
    make_packing_nodes();
    move_into_epilogues();
  }

 private:
  Shape shape(ValueId id) const { return *concrete(*graph_.value(id).shape); }

  void make_packing_nodes() {
    const Rewriter rewriter(graph_);
    for (const Node& node : graph_.nodes) {
      const auto made = dequantized(rewriter, graph_, node.output(0));
      if (made) dequantized_.emplace(node.output(0), *made);
    }
    std::vector<Node> nodes;
    for (Node& node : graph_.nodes) {
      if (is_bit_product(node)) {
        const Packing packing = packing_of(node);
        auto found = packed_.find(packing);
        if (found == packed_.end()) {
          nodes.push_back(packing_node(node));
          found = packed_.emplace(packing, nodes.back().output(0)).first;
        }
        node.attributes.set("x_channels", shape(node.input(0)).back());
        node.inputs[0] = found->second;
      }
      nodes.push_back(std::move(node));
    }
    graph_.nodes = std::move(nodes);
  }

  Node packing_node(const Node& reader) {
    Shape words = shape(reader.input(0));
    words.back() = BitFormat::plane_words(words.back());
    const std::string name = graph_.value(reader.input(0)).name + ".bits";
    Node node;
    node.op = internal::kPackBits;
    node.name = name;
    node.scope = reader.scope;
    node.inputs = {read_codes(reader.input(0), node.attributes)};
    node.outputs = {graph_.add_value(name, DType::u64, symbolic(words))};
    for (const char* attribute : {"is_map", "x_scale", "x_shift"}) {
      const auto& entries = reader.attributes.entries();
      if (const auto found = entries.find(attribute); found != entries.end()) {
        node.attributes.set(attribute, found->second);
      }
    }
    return node;
  }

  /// The codes of a dequantized value, noting their grid: signs are told from them. Other values
  /// as they are.
  ValueId read_codes(ValueId value, AttributeMap& attributes) const {
    const auto found = dequantized_.find(value);
    if (found == dequantized_.end()) return value;
    attributes.set("code_scale", found->second.quantization.scale);
    attributes.set("code_zero_point", int64_t{found->second.quantization.zero_point});
    return found->second.codes;
  }

  /// A product of bits that makes a value of which the signs are packed writes them itself. When
  /// nobody else reads the value, and nothing but scale and bias lies between accumulator and sign,
  /// the signs are all it makes.
  void move_into_epilogues() {
    const GraphIndex index(graph_);
    std::vector<bool> gone(graph_.nodes.size(), false);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& packing = graph_.nodes[i];
      if (packing.op != internal::kPackBits || packing.attributes.get_int("is_map", 0) != 0) {
        continue;
      }
      const ValueId y = packing.input(0);
      const int producer = index.producer(y);
      if (producer < 0) continue;
      Node& product = graph_.nodes[static_cast<size_t>(producer)];
      if (!is_bit_product(product) || product.output(0) != y || product.output(1) != kNoValue) {
        continue;
      }
      if (const Tensor* shift = packing.attributes.get_tensor("x_shift")) {
        product.attributes.set("sign_shift", *shift);
      }
      if (index.has_single_use(y) && is_affine(product)) {
        product.attributes.set("bits_only", int64_t{1});
        product.outputs = {packing.output(0)};
      } else {
        product.outputs = {y, packing.output(0)};
      }
      gone[i] = true;
    }
    size_t i = 0;
    std::erase_if(graph_.nodes, [&](const Node&) { return gone[i++]; });
  }

  static bool is_affine(const Node& product) {
    return product.input(3) == kNoValue && !product.attributes.has("prelu_slope") &&
           !product.attributes.has("product_offsets") &&
           product.attributes.get_int("activation", 0) == 0;
  }

  Graph& graph_;
  std::map<Packing, ValueId> packed_;
  std::map<ValueId, DequantizedValue> dequantized_;
};

}  // namespace

void pack_bit_operands(Graph& graph) {
  BitPacker(graph).run();
}

}  // namespace ounce::engine
