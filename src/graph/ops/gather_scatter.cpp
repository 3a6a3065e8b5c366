#include <algorithm>

#include "graph/error.h"
#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"

namespace ounce::ops {
namespace {

void append(SymbolicShape& shape, const SymbolicShape& tail, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) shape.push_back(tail[i]);
}

void infer_gather(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* data = context.shape(0);
  const SymbolicShape* indices = context.shape(1);
  if (data == nullptr || indices == nullptr) return;
  const size_t axis = axis_index(context.attributes().get_int("axis", 0), data->size());
  SymbolicShape y(data->begin(), data->begin() + static_cast<std::ptrdiff_t>(axis));
  append(y, *indices, 0, indices->size());
  append(y, *data, axis + 1, data->size());
  context.set_output(0, context.dtype(0), std::move(y));
}

void infer_gather_elements(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* data = context.shape(0);
  const SymbolicShape* indices = context.shape(1);
  if (data != nullptr) axis_index(context.attributes().get_int("axis", 0), data->size());
  if (indices == nullptr) return;
  if (data != nullptr) require_rank(*indices, data->size(), "indices");
  context.set_output(0, context.dtype(0), *indices);
}

/// Length of the index tuples, the last dimension of `indices`.
size_t tuple_length(const SymbolicShape& indices, size_t most) {
  const int64_t length = indices.back().value;
  if (length < 1 || length > static_cast<int64_t>(most)) {
    throw Error("index tuples of length " + std::to_string(length) + " into " +
                std::to_string(most) + " dimensions");
  }
  return static_cast<size_t>(length);
}

void infer_gather_nd(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* data = context.shape(0);
  const SymbolicShape* indices = context.shape(1);
  if (data == nullptr || indices == nullptr) return;
  require_min_rank(*data, 1, "data");
  require_min_rank(*indices, 1, "indices");
  const int64_t batch = context.attributes().get_int("batch_dims", 0);
  if (batch < 0 || batch >= static_cast<int64_t>(std::min(data->size(), indices->size()))) {
    throw Error("batch_dims is " + std::to_string(batch));
  }
  if (!indices->back().known()) return;
  const auto shared = static_cast<size_t>(batch);
  for (size_t i = 0; i < shared; ++i) unified((*data)[i], (*indices)[i], "batch dimensions");
  const size_t length = tuple_length(*indices, data->size() - shared);
  SymbolicShape y(indices->begin(), indices->end() - 1);
  append(y, *data, shared + length, data->size());
  context.set_output(0, context.dtype(0), std::move(y));
}

void infer_scatter_nd(InferenceContext& context) {
  const SymbolicShape* data = context.shape(0);
  const SymbolicShape* indices = context.shape(1);
  const SymbolicShape* updates = context.shape(2);
  if (data != nullptr && indices != nullptr && updates != nullptr) {
    require_min_rank(*indices, 1, "indices");
    if (indices->back().known()) {
      SymbolicShape wanted(indices->begin(), indices->end() - 1);
      append(wanted, *data, tuple_length(*indices, data->size()), data->size());
      require_rank(*updates, wanted.size(), "updates");
      for (size_t i = 0; i < wanted.size(); ++i) {
        unified(wanted[i], (*updates)[i], "dimensions of updates and indices");
      }
    }
  }
  infer_same_as_input(context);
}

void infer_scatter_elements(InferenceContext& context) {
  const SymbolicShape* data = context.shape(0);
  if (data != nullptr) {
    axis_index(context.attributes().get_int("axis", 0), data->size());
    for (const size_t input : {size_t{1}, size_t{2}}) {
      if (context.shape(input) != nullptr) {
        require_rank(*context.shape(input), data->size(), "indices and updates");
      }
    }
  }
  infer_same_as_input(context);
}

void infer_one_hot(InferenceContext& context) {
  context.set_output(0, context.dtype(2));
  const SymbolicShape* indices = context.shape(0);
  if (indices == nullptr) return;
  SymbolicShape y = *indices;
  const size_t axis = axis_index(context.attributes().get_int("axis", -1), y.size() + 1);
  Dim depth;
  if (const auto number = constant_number(context, 1)) {
    if (!(*number >= 1 && *number <= static_cast<double>(kMaxDim)))
      throw Error("depth is not positive");
    depth = static_cast<int64_t>(*number);
  }
  y.insert(y.begin() + static_cast<std::ptrdiff_t>(axis), depth);
  context.set_output(0, context.dtype(2), std::move(y));
}

/// [rank, number of non-zero elements], the latter known to the content alone.
void infer_non_zero(InferenceContext& context) {
  context.set_output(0, DType::i64);
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  context.set_output(0, DType::i64, {Dim(static_cast<int64_t>(x->size())), Dim()});
}

void infer_compress(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  if (!context.attributes().has("axis")) {
    context.set_output(0, context.dtype(0), unknown_dims(1));
    return;
  }
  SymbolicShape y = *x;
  y[axis_index(context.attributes().get_int("axis", 0), y.size())] = Dim();
  context.set_output(0, context.dtype(0), std::move(y));
}

Cost no_cost(const Node&, std::span<const Value* const>, std::span<const Value* const>) {
  return {};
}

OperatorSchema row(std::string_view name, int inputs, int since, void (*infer)(InferenceContext&)) {
  return {.name = name,
          .min_inputs = inputs,
          .max_inputs = inputs,
          .since_opset = since,
          .infer = infer,
          .cost = no_cost};
}

const OperatorSchema kRows[] = {
    row("Compress", 2, 11, infer_compress),
    row("Gather", 2, 11, infer_gather),
    row("GatherElements", 2, 11, infer_gather_elements),
    row("GatherND", 2, 12, infer_gather_nd),
    row("NonZero", 1, 9, infer_non_zero),
    row("OneHot", 3, 11, infer_one_hot),
    row("ScatterElements", 3, 11, infer_scatter_elements),
    row("ScatterND", 3, 11, infer_scatter_nd),
};

}  // namespace

Family gather_scatter_operators() {
  return kRows;
}

}  // namespace ounce::ops
