#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/reference/reference.h"

namespace ounce::engine {
namespace {

using Permutation = std::vector<int64_t>;

/// Axes of the channels-last form in terms of the channels-first one: [N, spatial..., C].
Permutation to_channels_last(int64_t rank) {
  Permutation perm = {0};
  for (int64_t axis = 2; axis < rank; ++axis) perm.push_back(axis);
  perm.push_back(1);
  return perm;
}

Permutation inverse(const Permutation& perm) {
  Permutation result(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) {
    result[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  }
  return result;
}

Shape permuted(const Shape& shape, const Permutation& perm) {
  Shape result;
  for (const int64_t axis : perm) result.push_back(shape[static_cast<size_t>(axis)]);
  return result;
}

bool is_one_of(std::string_view op, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), op) != list.end();
}

bool is_image_op(const Node& node) {
  // The count of a rounded-up average window depends on padding beyond the padding: reference only.
  if (node.op == "AveragePool" && node.attributes.get_int("ceil_mode", 0) != 0 &&
      node.attributes.get_int("count_include_pad", 0) != 0) {
    return false;
  }
  return is_one_of(node.op, {internal::kConv, internal::kConvTranspose, internal::kQConv,
                             internal::kBitConv, "MaxPool", "AveragePool", "GlobalAveragePool",
                             internal::kQAveragePool, internal::kQGlobalAveragePool});
}

/// Operators that compute every element for itself, whatever the order of the axes.
bool is_elementwise(std::string_view op) {
  return is_one_of(op, {"Relu",
                        "Clip",
                        "LeakyRelu",
                        "Sigmoid",
                        "Tanh",
                        "Silu",
                        "Gelu",
                        "HardSwish",
                        "HardSigmoid",
                        "Elu",
                        "Selu",
                        "Celu",
                        "Softplus",
                        "Softsign",
                        "Mish",
                        "Erf",
                        "Exp",
                        "Log",
                        "Sqrt",
                        "Abs",
                        "Neg",
                        "Reciprocal",
                        "Floor",
                        "Ceil",
                        "Round",
                        "Add",
                        "Sub",
                        "Mul",
                        "Div",
                        "Pow",
                        "Min",
                        "Max",
                        "Sum",
                        "Cast",
                        "Where",
                        "PRelu",
                        "Equal",
                        "Greater",
                        "Less",
                        "Not",
                        "And",
                        "Or",
                        "Identity",
                        "QuantizeLinear",
                        "DequantizeLinear",
                        internal::kLookup,
                        internal::kQAdd,
                        internal::kQMul});
}

/// Rewrites the nodes of a lowered graph so that images between convolutions are channels-last.
///
/// Every channels-last tensor is a value of its own, the `twin` of the channels-first value it
/// stands for, so that shapes always say how memory lies. Where a node needs the other form, a
/// Transpose is inserted once.
class LayoutPass {
 public:
  explicit LayoutPass(Graph& graph) : graph_(graph) {}

  void run() {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (Node& node : nodes) {
      const std::vector<ValueId> made = node.outputs;
      place(std::move(node));
      // Outputs leave channels-first, converted at once so that their twin can be forgotten.
      for (const ValueId id : made) {
        if (std::find(graph_.outputs.begin(), graph_.outputs.end(), id) != graph_.outputs.end()) {
          need_first(id);
        }
      }
    }
  }

 private:
  Shape shape(ValueId id) const {
    const auto& shape = graph_.value(id).shape;
    return shape ? concrete(*shape).value_or(Shape{}) : Shape{};
  }
  bool is_concrete(ValueId id) const {
    const auto& shape = graph_.value(id).shape;
    return shape && concrete(*shape).has_value();
  }
  int64_t rank(ValueId id) const {
    return is_concrete(id) ? static_cast<int64_t>(shape(id).size()) : -1;
  }
  bool has_twin(ValueId id) const { return id != kNoValue && twin_.count(id) != 0; }

  void emit(Node node) { graph_.nodes.push_back(std::move(node)); }

  void emit_transpose(ValueId from, ValueId to, const Permutation& perm) {
    Node node;
    node.op = "Transpose";
    node.name = graph_.value(to).name + ".layout";
    node.inputs = {from};
    node.outputs = {to};
    node.attributes.set("perm", perm);
    emit(std::move(node));
  }

  /// `from` in the shape of `to`.
  Node view(ValueId from, ValueId to) {
    Node node;
    node.op = "Reshape";
    node.name = graph_.value(to).name + ".view";
    node.inputs = {from, graph_.add_constant("shape", Tensor::of_i64(shape(to)))};
    node.outputs = {to};
    return node;
  }

  ValueId new_twin(ValueId id) {
    const Shape first = shape(id);
    const Permutation perm = to_channels_last(static_cast<int64_t>(first.size()));
    const ValueId twin = graph_.add_value(graph_.value(id).name + ".nhwc", graph_.value(id).dtype,
                                          symbolic(permuted(first, perm)));
    twin_[id] = twin;
    return twin;
  }

  /// The channels-last form of `id`, made by a Transpose if nothing has made it yet.
  ValueId need_last(ValueId id) {
    if (const auto found = twin_.find(id); found != twin_.end()) return found->second;
    if (const Tensor* constant = graph_.constant(id)) return transposed_constant(id, *constant);
    const ValueId twin = new_twin(id);
    emit_transpose(id, twin, to_channels_last(rank(id)));
    first_exists_[id] = true;
    return twin;
  }

  /// Makes sure that the channels-first form of `id` is computed.
  void need_first(ValueId id) {
    if (id == kNoValue || !has_twin(id) || first_exists_[id]) return;
    emit_transpose(twin_[id], id, inverse(to_channels_last(rank(id))));
    first_exists_[id] = true;
  }

  ValueId transposed_constant(ValueId id, const Tensor& constant) {
    Node node;
    node.op = "Transpose";
    node.name = graph_.value(id).name + ".nhwc";
    node.attributes.set("perm", to_channels_last(constant.rank()));
    node.outputs = {id};
    const Tensor operands[] = {constant};
    const ValueId twin = graph_.add_constant(node.name, reference::evaluate(node, operands)[0]);
    twin_[id] = twin;
    first_exists_[id] = true;
    return twin;
  }

  void place(Node node) {
    if (is_image_op(node) && rank(node.input(0)) == 3) {
      place_image_1d(std::move(node));
    } else if (is_image_op(node) && rank(node.input(0)) == 4) {
      place_image(std::move(node));
    } else if (!place_on_twins(node)) {
      place_first(std::move(node));
    }
  }

  void place_first(Node node) {
    for (const ValueId input : node.inputs) need_first(input);
    emit(std::move(node));
  }

  void place_image(Node node) {
    node.inputs[0] = need_last(node.inputs[0]);
    // inputs 1 and 2 are weights and bias, 3 the residual
    if (node.inputs.size() > 3 && node.inputs[3] != kNoValue) {
      node.inputs[3] = need_last(node.inputs[3]);
    }
    if (node.op == "MaxPool") node.op = internal::kMaxPool;
    if (node.op == "AveragePool") node.op = internal::kAveragePool;
    if (node.op == "GlobalAveragePool") node.op = internal::kGlobalAveragePool;
    for (size_t i = 1; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) return place_indices(std::move(node));
    }
    node.outputs.resize(1);
    node.outputs[0] = new_twin(node.outputs[0]);
    emit(std::move(node));
  }

  /// MaxPool with indices: the reference operator, channels-first.
  void place_indices(Node node) {
    for (auto& [first, last] : twin_) {
      if (last == node.inputs[0]) {
        node.inputs[0] = first;
        break;
      }
    }
    node.op = "MaxPool";
    place_first(std::move(node));
  }

  /// A 1-D image is a 2-D one of height 1.
  void place_image_1d(Node node) {
    const auto widen = [&](ValueId id, std::string_view suffix) {
      const Shape narrow = shape(id);
      return graph_.add_value(graph_.value(id).name + std::string(suffix), graph_.value(id).dtype,
                              symbolic({narrow[0], narrow[1], 1, narrow[2]}));
    };
    for (const size_t i : {size_t{0}, size_t{3}}) {
      if (node.input(i) == kNoValue) continue;
      const ValueId wide = widen(node.inputs[i], ".2d");
      place(view(node.inputs[i], wide));
      node.inputs[i] = wide;
    }
    if (const Tensor* weight = graph_.constant(node.input(1))) {
      const Shape narrow = weight->shape();
      node.inputs[1] = graph_.add_constant(graph_.value(node.input(1)).name + ".2d",
                                           weight->reshaped({narrow[0], narrow[1], 1, narrow[2]}));
    }
    widen_attributes(node.attributes);
    const ValueId narrow_output = node.output(0);
    const ValueId wide_output = widen(narrow_output, ".2d");
    node.outputs = {wide_output};
    place_image(std::move(node));
    place(view(wide_output, narrow_output));
  }

  static void widen_attributes(AttributeMap& attributes) {
    for (const char* name : {"strides", "dilations", "kernel_shape"}) {
      if (!attributes.has(name)) continue;
      attributes.set(name, std::vector<int64_t>{1, attributes.get_ints(name).at(0)});
    }
    if (attributes.has("pads")) {
      const std::vector<int64_t> pads = attributes.get_ints("pads");
      attributes.set("pads", std::vector<int64_t>{0, pads.at(0), 0, pads.at(1)});
    }
  }

  /// Lets the node work on channels-last operands if one of them exists in that form and the node
  /// can; false when it must work on the channels-first ones.
  bool place_on_twins(Node& node) {
    const bool any = std::any_of(node.inputs.begin(), node.inputs.end(),
                                 [&](ValueId id) { return has_twin(id) && !graph_.constant(id); });
    if (!any) return false;
    if (is_elementwise(node.op)) return place_elementwise(node);
    if (node.op == "Transpose") return place_transpose(node);
    if (node.op == "Reshape") return place_merged_spatial(node);
    if (node.op == "Concat") return place_concat(node);
    if (is_one_of(node.op, {"Split", "Softmax"})) return place_axis_attribute(node);
    if (node.op == "Slice") return place_slice(node);
    if (node.op == "Pad") return place_pad(node);
    if (node.op == "ReduceMean") return place_spatial_mean(node);
    if (node.op == "Resize") return place_resize(node);
    if (is_one_of(node.op, {"DepthToSpace", "SpaceToDepth"})) return place_blocks(node);
    return false;
  }

  void emit_on_twins(Node& node) {
    for (ValueId& output : node.outputs) {
      if (output != kNoValue) output = new_twin(output);
    }
    emit(std::move(node));
  }

  bool place_elementwise(Node& node) {
    const int64_t image_rank = rank(node.output(0));
    std::vector<ValueId> operands;
    for (const ValueId input : node.inputs) {
      if (input != kNoValue && (!is_concrete(input) || !can_follow(input, image_rank))) {
        return false;
      }
    }
    for (const ValueId input : node.inputs) operands.push_back(followed(input, image_rank));
    node.inputs = operands;
    emit_on_twins(node);
    return true;
  }

  bool can_follow(ValueId id, int64_t image_rank) const {
    if (rank(id) == image_rank) return true;
    return element_count(shape(id)) == 1 || graph_.constant(id) != nullptr;
  }

  /// An operand of an elementwise node in channels-last order; broadcasting constants of lower rank
  /// are widened first.
  ValueId followed(ValueId id, int64_t image_rank) {
    if (id == kNoValue || element_count(shape(id)) == 1) {
      need_first(id);
      return id;
    }
    if (rank(id) == image_rank) return need_last(id);
    Shape wide = shape(id);
    wide.insert(wide.begin(), static_cast<size_t>(image_rank) - wide.size(), 1);
    const ValueId widened =
        graph_.add_constant(graph_.value(id).name + ".wide", graph_.constant(id)->reshaped(wide));
    return need_last(widened);
  }

  bool place_transpose(Node& node) {
    const ValueId source = node.input(0);
    const int64_t source_rank = rank(source);
    Permutation perm = node.attributes.get_ints("perm");
    if (static_cast<int64_t>(perm.size()) != source_rank) return false;
    const Permutation from_last = inverse(to_channels_last(source_rank));
    for (int64_t& axis : perm) axis = from_last[static_cast<size_t>(axis)];
    node.inputs[0] = twin_[source];
    node.attributes.set("perm", perm);
    emit(std::move(node));
    return true;
  }

  /// [N, C, H, W] -> [N, C, H * W] keeps its channels last.
  bool place_merged_spatial(Node& node) {
    const ValueId source = node.input(0);
    const ValueId result = node.output(0);
    if (rank(source) != 4 || rank(result) != 3) return false;
    const Shape from = shape(source);
    const Shape to = shape(result);
    if (from[0] != to[0] || from[1] != to[1]) return false;
    node.inputs[0] = twin_[source];
    node.inputs[1] = graph_.add_constant("shape", Tensor::of_i64({to[0], to[2], to[1]}));
    emit_on_twins(node);
    return true;
  }

  int64_t axis_in_twin(int64_t axis, int64_t of_rank) const {
    return inverse(to_channels_last(of_rank))[static_cast<size_t>(normalize_axis(axis, of_rank))];
  }

  bool place_concat(Node& node) {
    const int64_t of_rank = rank(node.output(0));
    if (of_rank < 3) return false;
    for (ValueId& input : node.inputs) input = need_last(input);
    node.attributes.set("axis", axis_in_twin(node.attributes.get_int("axis", 0), of_rank));
    emit_on_twins(node);
    return true;
  }

  bool place_axis_attribute(Node& node) {
    const int64_t fallback = node.op == "Split" ? 0 : -1;
    const int64_t of_rank = rank(node.input(0));
    node.attributes.set("axis", axis_in_twin(node.attributes.get_int("axis", fallback), of_rank));
    node.inputs[0] = twin_[node.input(0)];
    emit_on_twins(node);
    return true;
  }

  bool place_slice(Node& node) {
    const Tensor* axes = graph_.constant(node.input(3));
    if (axes == nullptr || !has_twin(node.input(0))) return false;
    const int64_t of_rank = rank(node.input(0));
    std::vector<int64_t> list = axes->to_i64();
    for (int64_t& axis : list) axis = axis_in_twin(axis, of_rank);
    node.inputs[0] = twin_[node.input(0)];
    node.inputs[3] = graph_.add_constant("axes", Tensor::of_i64(list));
    emit_on_twins(node);
    return true;
  }

  bool place_pad(Node& node) {
    const Tensor* axes = graph_.constant(node.input(3));
    if (!has_twin(node.input(0)) || (node.input(3) != kNoValue && axes == nullptr)) return false;
    const int64_t of_rank = rank(node.input(0));
    std::vector<int64_t> list = axes != nullptr ? axes->to_i64() : std::vector<int64_t>();
    for (int64_t axis = 0; axes == nullptr && axis < of_rank; ++axis) list.push_back(axis);
    for (int64_t& axis : list) axis = axis_in_twin(axis, of_rank);
    node.inputs[0] = twin_[node.input(0)];
    node.inputs.resize(4, kNoValue);
    node.inputs[3] = graph_.add_constant("axes", Tensor::of_i64(list));
    emit_on_twins(node);
    return true;
  }

  /// Mean over height and width, as the pooling operator or (dimensions dropped) with a view.
  bool place_spatial_mean(Node& node) {
    const ValueId source = node.input(0);
    const Tensor* axes = graph_.constant(node.input(1));
    if (axes == nullptr || rank(source) != 4 || graph_.value(source).dtype != DType::f32) {
      return false;
    }
    std::vector<int64_t> list = axes->to_i64();
    for (int64_t& axis : list) axis = normalize_axis(axis, 4);
    std::sort(list.begin(), list.end());
    if (list != std::vector<int64_t>{2, 3}) return false;
    const bool keep = node.attributes.get_int("keepdims", 1) != 0;
    node.op = internal::kGlobalAveragePool;
    node.inputs = {twin_[source]};
    if (keep) {
      emit_on_twins(node);
      return true;
    }
    const Shape from = shape(source);
    const ValueId pooled = graph_.add_value(graph_.value(source).name + ".mean", DType::f32,
                                            symbolic({from[0], 1, 1, from[1]}));
    Node flat = view(pooled, node.output(0));
    node.outputs = {pooled};
    emit(std::move(node));
    emit(std::move(flat));
    return true;
  }

  bool place_resize(Node& node) {
    const int64_t of_rank = rank(node.input(0));
    if (of_rank != 4 || node.attributes.has("axes")) return false;
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      if (node.input(i) == kNoValue) continue;
      const Tensor* constant = graph_.constant(node.input(i));
      if (constant == nullptr || (constant->size() != 0 && constant->size() != of_rank)) {
        return false;  // a region of interest, or sizes computed at run time
      }
    }
    const Permutation perm = to_channels_last(of_rank);
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      const Tensor* constant = graph_.constant(node.input(i));
      if (constant == nullptr || constant->size() == 0) continue;
      node.inputs[i] = graph_.add_constant("resize", permuted_vector(*constant, perm));
    }
    node.inputs[0] = twin_[node.input(0)];
    emit_on_twins(node);
    return true;
  }

  /// Channels of one pixel become a square of pixels, or the reverse: views with a transposition
  /// between them.
  bool place_blocks(Node& node) {
    const ValueId source = twin_[node.input(0)];
    const Shape x = shape(source);  // [n, h, w, c]
    const int64_t block = node.attributes.get_int("blocksize", 0);
    Shape split;
    Permutation perm;
    if (node.op == "SpaceToDepth") {
      split = {x[0], x[1] / block, block, x[2] / block, block, x[3]};
      perm = {0, 1, 3, 2, 4, 5};
    } else if (node.attributes.get_string("mode", "DCR") == "CRD") {
      split = {x[0], x[1], x[2], x[3] / (block * block), block, block};
      perm = {0, 1, 4, 2, 5, 3};
    } else {
      split = {x[0], x[1], x[2], block, block, x[3] / (block * block)};
      perm = {0, 1, 3, 2, 4, 5};
    }
    const auto value = [&](const char* suffix, const Shape& form) {
      return graph_.add_value(graph_.value(node.output(0)).name + suffix,
                              graph_.value(source).dtype, symbolic(form));
    };
    const ValueId blocks = value(".blocks", split);
    const ValueId moved = value(".moved", permuted(split, perm));
    emit(view(source, blocks));
    emit_transpose(blocks, moved, perm);
    emit(view(moved, new_twin(node.output(0))));
    return true;
  }

  static Tensor permuted_vector(const Tensor& values, const Permutation& perm) {
    Tensor result(values.dtype(), values.shape());
    const size_t width = static_cast<size_t>(bits_of(values.dtype())) / 8;
    for (size_t i = 0; i < perm.size(); ++i) {
      std::copy_n(values.raw() + static_cast<size_t>(perm[i]) * width, width,
                  result.mutable_raw() + i * width);
    }
    return result;
  }

  Graph& graph_;
  std::map<ValueId, ValueId> twin_;       // channels-first value -> its channels-last form
  std::map<ValueId, bool> first_exists_;  // values with a twin: is the first form computed too
};

}  // namespace

void assign_layout(Graph& graph) {
  LayoutPass(graph).run();
}

}  // namespace ounce::engine
