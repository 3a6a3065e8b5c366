#include <algorithm>

#include "graph/passes/passes.h"
#include "graph/rewrite.h"

namespace ounce {
namespace {

using namespace pattern;

/// Mean over the constant axes of the capture "axes".
Pattern mean(const Pattern& x) {
  const Pattern node = op("ReduceMean", {x, constant("axes", [](const Tensor& axes) {
                                           return axes.rank() == 1 && axes.size() >= 1;
                                         })});
  return where(node, keeps_dims);
}

Pattern squared(const Pattern& x) {
  return either({op("Pow", {x, number(2)}), op("Mul", {x, x})});
}

/// x / sqrt(variance + epsilon), the root taken or inverted in any of the usual ways.
Pattern divided_by_root(const Pattern& x, const Pattern& variance) {
  const Pattern sum = commutative("Add", variance, scalar("epsilon"));
  const Pattern root = either({op("Sqrt", {sum}), op("Pow", {sum, number(0.5)})});
  const Pattern inverse = either(
      {op("Reciprocal", {root}), op("Div", {number(1), root}), op("Pow", {sum, number(-0.5)})});
  return either({op("Div", {x, root}), commutative("Mul", x, inverse)});
}

/// The first of the axes when they are the last dimensions of x without a gap, as a negative
/// number.
std::optional<int64_t> trailing_axis(const Graph& graph, const Match& match) {
  std::vector<int64_t> axes = graph.constant(match.value("axes"))->to_i64();
  const Value& x = graph.value(match.value("x"));
  for (int64_t& axis : axes) {
    if (axis < 0) continue;
    if (!x.shape) return std::nullopt;
    axis -= static_cast<int64_t>(x.shape->size());
  }
  std::sort(axes.begin(), axes.end());
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] != static_cast<int64_t>(i) - static_cast<int64_t>(axes.size())) return std::nullopt;
  }
  return axes.front();
}

/// Scale or bias as the node wants it: the shape of the normalised dimensions. nullopt when the
/// constant also varies along others, or when its extent cannot be that of x.
std::optional<Tensor> affine_parameter(const Graph& graph, ValueId id, int64_t axis) {
  const Tensor* tensor = graph.constant(id);
  if (tensor == nullptr) return std::nullopt;
  const auto rank = static_cast<size_t>(-axis);
  Shape shape = tensor->shape();
  while (shape.size() > rank && shape.front() == 1) shape.erase(shape.begin());
  if (shape.size() != rank) return std::nullopt;
  return tensor->reshaped(std::move(shape));
}

/// Ones of the normalised shape, for a normalisation without scale.
std::optional<Tensor> unit_scale(const Graph& graph, ValueId x, int64_t axis) {
  const Value& value = graph.value(x);
  if (!value.shape || value.dtype != DType::f32) return std::nullopt;
  const auto from = value.shape->end() + axis;
  const auto shape = concrete(SymbolicShape(from, value.shape->end()));
  if (!shape) return std::nullopt;
  return Tensor::of(std::vector<float>(static_cast<size_t>(element_count(*shape)), 1.0f), *shape);
}

/// Does the scale cover x, rather than widen it? Known extents must agree.
bool fits(const Graph& graph, ValueId x, const Tensor& scale) {
  const Value& value = graph.value(x);
  if (!value.shape || value.shape->size() < scale.shape().size()) return !value.shape;
  const size_t offset = value.shape->size() - scale.shape().size();
  for (size_t i = 0; i < scale.shape().size(); ++i) {
    const Dim& dim = (*value.shape)[offset + i];
    if (dim.known() && dim.value != scale.shape()[i]) return false;
  }
  return true;
}

bool fuse_match(GraphEditor& editor, const Match& match, std::string_view op) {
  Graph& graph = editor.graph();
  const auto axis = trailing_axis(graph, match);
  if (!axis) return false;
  const ValueId x = match.value("x");
  const ValueId given_scale = match.value("scale");
  const ValueId given_bias = match.value("bias");
  const auto scale = given_scale != kNoValue ? affine_parameter(graph, given_scale, *axis)
                                             : unit_scale(graph, x, *axis);
  if (!scale || !fits(graph, x, *scale)) return false;
  std::optional<Tensor> bias;
  if (given_bias != kNoValue) {
    bias = affine_parameter(graph, given_bias, *axis);
    if (!bias || bias->shape() != scale->shape()) return false;
  }
  AttributeMap attributes;
  attributes.set("axis", *axis);
  attributes.set("epsilon", *scalar_constant(graph, match.value("epsilon")));
  const auto parameter = [&](ValueId given, const Tensor& tensor, const char* suffix) {
    if (given != kNoValue && graph.constant(given)->shape() == tensor.shape()) return given;
    const std::string& name = graph.nodes[static_cast<size_t>(match.root)].name;
    return editor.add_constant(name + suffix, tensor);
  };
  std::vector<ValueId> inputs = {x, parameter(given_scale, *scale, ".scale")};
  if (bias) inputs.push_back(parameter(given_bias, *bias, ".bias"));
  editor.replace(match.root, op, std::move(inputs), std::move(attributes));
  return true;
}

int fuse(Graph& graph, const Pattern& pattern, std::string_view op) {
  return rewrite_matches(graph, pattern, [&](GraphEditor& editor, const Match& match) {
    return fuse_match(editor, match, op);
  });
}

}  // namespace

int fuse_layer_norm(Graph& graph) {
  const Pattern x = any("x");
  const Pattern centred = op("Sub", {x, mean(x)});
  // torch.onnx centres once, Keras' converter once more for the variance: both match, as a pattern
  // compares values and structure, not node identity.
  const Pattern core = divided_by_root(centred, mean(squared(centred)));
  const Pattern scaled = commutative("Mul", core, constant("scale"));
  int count = fuse(graph, commutative("Add", scaled, constant("bias")), "LayerNormalization");
  count += fuse(graph, scaled, "LayerNormalization");
  count += fuse(graph, core, "LayerNormalization");
  return count;
}

int fuse_rms_norm(Graph& graph) {
  const Pattern x = any("x");
  const Pattern core = divided_by_root(x, mean(squared(x)));
  return fuse(graph, commutative("Mul", core, constant("scale")), "RMSNorm") +
         fuse(graph, core, "RMSNorm");
}

}  // namespace ounce
