#include "engine/lowering/strided_view.h"

#include <algorithm>
#include <optional>

#include "engine/lowering/internal_ops.h"
#include "engine/lowering/rewriter.h"

namespace ounce::engine {
namespace {

Shape shape_of(const Graph& graph, ValueId id) {
  return *concrete(*graph.value(id).shape);
}

/// A view and the value whose memory it describes.
struct SourcedView {
  ValueId source = kNoValue;
  StridedView view;
};

/// The same elements under another shape, when strides can express it: every run of source axes
/// that merges into (or comes from) a run of target axes must be evenly strided.
std::optional<StridedView> reshaped(const StridedView& view, const Shape& target) {
  StridedView result{view.offset, target, std::vector<int64_t>(target.size(), 0)};
  size_t i = 0;
  size_t j = 0;
  while (i < view.shape.size() || j < target.size()) {
    // Groups of axes with equal products on both sides.
    int64_t from = 1;
    int64_t to = 1;
    const size_t i_begin = i;
    const size_t j_begin = j;
    do {
      if (i < view.shape.size() && (from <= to || j == target.size())) {
        from *= view.shape[i++];
      } else if (j < target.size()) {
        to *= target[j++];
      }
    } while (from != to);
    if (i == i_begin || j == j_begin) {  // only axes of length 1 on one side
      for (size_t a = j_begin; a < j; ++a) result.strides[a] = 0;
      continue;
    }
    int64_t stride = 0;
    int64_t expected = -1;
    for (size_t a = i; a > i_begin; --a) {
      if (view.shape[a - 1] == 1) continue;
      if (expected < 0) {
        stride = view.strides[a - 1];
      } else if (view.strides[a - 1] != expected) {
        return std::nullopt;
      }
      expected = view.strides[a - 1] * view.shape[a - 1];
    }
    for (size_t a = j; a > j_begin; --a) {
      result.strides[a - 1] = stride;
      stride *= target[a - 1];
    }
  }
  return result;
}

class ViewTracer {
 public:
  ViewTracer(const Graph& graph, const GraphIndex& index) : graph_(graph), index_(index) {}

  SourcedView trace(ValueId value) const {
    const int producer = index_.producer(value);
    if (producer >= 0 && !graph_.value(value).is_constant()) {
      if (auto view = through(graph_.nodes[static_cast<size_t>(producer)], value)) return *view;
    }
    return {value, contiguous_view(shape_of(graph_, value))};
  }

 private:
  std::optional<SourcedView> through(const Node& node, ValueId value) const {
    if (node.op == "Transpose") return through_transpose(node);
    if (node.op == "Reshape" || node.op == "Squeeze" || node.op == "Unsqueeze" ||
        node.op == "Flatten" || node.op == "Identity") {
      SourcedView source = trace(node.input(0));
      const auto view = reshaped(source.view, shape_of(graph_, value));
      if (!view) return std::nullopt;
      source.view = *view;
      return source;
    }
    if (node.op == "Split") return through_split(node, value);
    if (node.op == "Gather") return through_gather(node);
    return std::nullopt;
  }

  std::optional<SourcedView> through_transpose(const Node& node) const {
    const std::vector<int64_t> perm = node.attributes.get_ints("perm");
    if (perm.empty()) return std::nullopt;
    SourcedView source = trace(node.input(0));
    StridedView view{source.view.offset, {}, {}};
    for (const int64_t axis : perm) {
      view.shape.push_back(source.view.shape[static_cast<size_t>(axis)]);
      view.strides.push_back(source.view.strides[static_cast<size_t>(axis)]);
    }
    source.view = view;
    return source;
  }

  std::optional<SourcedView> through_split(const Node& node, ValueId value) const {
    SourcedView source = trace(node.input(0));
    const auto axis = static_cast<size_t>(normalize_axis(
        node.attributes.get_int("axis", 0), static_cast<int64_t>(source.view.shape.size())));
    for (const ValueId output : node.outputs) {
      if (output == kNoValue) return std::nullopt;
      const int64_t size = shape_of(graph_, output)[axis];
      if (output == value) {
        source.view.shape[axis] = size;
        return source;
      }
      source.view.offset += size * source.view.strides[axis];
    }
    return std::nullopt;
  }

  /// One index along one axis.
  std::optional<SourcedView> through_gather(const Node& node) const {
    const Tensor* indices = graph_.constant(node.input(1));
    if (indices == nullptr || indices->rank() != 0) return std::nullopt;
    SourcedView source = trace(node.input(0));
    const auto axis = static_cast<size_t>(normalize_axis(
        node.attributes.get_int("axis", 0), static_cast<int64_t>(source.view.shape.size())));
    const int64_t size = source.view.shape[axis];
    int64_t index = indices->to_i64()[0];
    if (index < 0) index += size;
    if (index < 0 || index >= size) return std::nullopt;
    source.view.offset += index * source.view.strides[axis];
    source.view.shape.erase(source.view.shape.begin() + static_cast<int64_t>(axis));
    source.view.strides.erase(source.view.strides.begin() + static_cast<int64_t>(axis));
    return source;
  }

  const Graph& graph_;
  const GraphIndex& index_;
};

enum class MatrixRole { kRowsOnly, kEither };

/// The kernels take matrices with rows contiguous (or, as right operands, columns).
bool kernel_can_read(const StridedView& view, MatrixRole role) {
  if (view.shape.size() < 2) return false;
  const size_t last = view.shape.size() - 1;
  const auto unit = [&](size_t axis) { return view.strides[axis] == 1 || view.shape[axis] == 1; };
  return unit(last) || (role == MatrixRole::kEither && unit(last - 1));
}

void absorb_operand(const ViewTracer& tracer, Node& node, size_t input, MatrixRole role) {
  const SourcedView traced = tracer.trace(node.inputs[input]);
  if (traced.source == node.inputs[input] || !kernel_can_read(traced.view, role)) return;
  store_view(node.attributes, std::to_string(input), traced.view);
  node.inputs[input] = traced.source;
}

/// Writes through a Transpose that keeps the last axis, if it is the only reader.
void absorb_output(Graph& graph, const GraphIndex& index, Node& node) {
  const ValueId result = node.output(0);
  if (!index.has_single_use(result)) return;
  const Node& reader = graph.nodes[static_cast<size_t>(index.consumers(result)[0])];
  const std::vector<int64_t> perm = reader.attributes.get_ints("perm");
  if (reader.op != "Transpose" || perm.empty() ||
      perm.back() != static_cast<int64_t>(perm.size()) - 1) {
    return;
  }
  const StridedView target = contiguous_view(shape_of(graph, reader.output(0)));
  StridedView view{0, shape_of(graph, result), std::vector<int64_t>(perm.size())};
  for (size_t i = 0; i < perm.size(); ++i) {
    view.strides[static_cast<size_t>(perm[i])] = target.strides[i];
  }
  store_view(node.attributes, "out", view);
  node.outputs[0] = reader.output(0);
}

}  // namespace

StridedView contiguous_view(const Shape& shape) {
  return {0, shape, row_major_strides(shape)};
}

void store_view(AttributeMap& attributes, const std::string& name, const StridedView& view) {
  std::vector<int64_t> numbers = {view.offset};
  numbers.insert(numbers.end(), view.shape.begin(), view.shape.end());
  numbers.insert(numbers.end(), view.strides.begin(), view.strides.end());
  attributes.set("view_" + name, numbers);
}

StridedView load_view(const AttributeMap& attributes, const std::string& name, const Shape& shape) {
  const std::vector<int64_t> numbers = attributes.get_ints("view_" + name);
  if (numbers.empty()) return contiguous_view(shape);
  const auto rank = static_cast<int64_t>(numbers.size() / 2);
  StridedView view;
  view.offset = numbers[0];
  view.shape.assign(numbers.begin() + 1, numbers.begin() + 1 + rank);
  view.strides.assign(numbers.begin() + 1 + rank, numbers.end());
  return view;
}

namespace {

/// A mask [.., tokens, keys] whose leading axes broadcast to the batch of q [.., tokens, head_dim]
/// and k [.., keys, head_dim].
bool is_mask_of_heads(const Shape& mask, const Shape& q, const Shape& k) {
  const size_t rank = q.size();
  if (mask.size() < 2 || mask.size() > rank || mask[mask.size() - 2] != q[rank - 2] ||
      mask.back() != k[rank - 2]) {
    return false;
  }
  for (size_t i = 0; i + 2 < mask.size(); ++i) {
    if (mask[i] != 1 && mask[i] != q[rank - mask.size() + i]) return false;
  }
  return true;
}

}  // namespace

bool attention_kernel_takes(const Graph& graph, const Node& node) {
  const StridedView q = load_view(node.attributes, "0", shape_of(graph, node.input(0)));
  const StridedView k = load_view(node.attributes, "1", shape_of(graph, node.input(1)));
  const StridedView v = load_view(node.attributes, "2", shape_of(graph, node.input(2)));
  const auto same_batch = [&](const Shape& other) {
    return other.size() == q.shape.size() &&
           std::equal(other.begin(), other.end() - 2, q.shape.begin());
  };
  if (graph.value(node.input(0)).dtype != DType::f32 || q.shape.size() < 2 ||
      !same_batch(k.shape) || !same_batch(v.shape)) {
    return false;
  }
  if (node.input(3) == kNoValue) return true;
  return graph.value(node.input(3)).dtype == DType::f32 &&
         is_mask_of_heads(shape_of(graph, node.input(3)), q.shape, k.shape);
}

void absorb_views(Graph& graph) {
  const GraphIndex index(graph);
  const ViewTracer tracer(graph, index);
  std::vector<bool> written_through(graph.values.size(), false);
  for (Node& node : graph.nodes) {
    const bool attention = node.op == internal::kBitAttention || node.op == internal::kQAttention ||
                           (node.op == "Attention" && attention_kernel_takes(graph, node));
    const bool product = node.op == internal::kBatchMatMul || node.op == internal::kQBatchMatMul ||
                         node.op == internal::kBitBatchMatMul;
    if (!product && !attention) continue;
    absorb_operand(tracer, node, 0, MatrixRole::kRowsOnly);
    absorb_operand(tracer, node, 1, attention ? MatrixRole::kRowsOnly : MatrixRole::kEither);
    if (attention) absorb_operand(tracer, node, 2, MatrixRole::kRowsOnly);
    const ValueId before = node.output(0);
    absorb_output(graph, index, node);
    if (node.output(0) != before) written_through[static_cast<size_t>(node.output(0))] = true;
  }
  // The Transpose nodes whose result is now written by the product itself.
  std::erase_if(graph.nodes, [&](const Node& node) {
    return node.op == "Transpose" && written_through[static_cast<size_t>(node.output(0))];
  });
}

}  // namespace ounce::engine
