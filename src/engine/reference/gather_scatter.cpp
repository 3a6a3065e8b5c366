#include <algorithm>
#include <utility>

#include "engine/reference/common.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

/// Indices of input `i` in [-extent, extent), made non-negative.
int64_t checked_index(int64_t index, int64_t extent) {
  if (index < -extent || index >= extent) {
    fail("index " + std::to_string(index) + " is outside a dimension of " + std::to_string(extent));
  }
  return index < 0 ? index + extent : index;
}

/// y [outer, rows, inner] = the given rows of x [outer, axis, inner].
void copy_rows(const Tensor& x, Tensor& y, const AxisView& view, const std::vector<int64_t>& rows) {
  if (y.size() == 0) return;
  const auto block = static_cast<size_t>(view.inner * bits_of(x.dtype()) / 8);
  std::byte* to = y.mutable_raw();
  for (int64_t o = 0; o < view.outer; ++o) {
    for (const int64_t row : rows) {
      std::memcpy(to, x.raw() + static_cast<size_t>(o * view.axis + row) * block, block);
      to += block;
    }
  }
}

/// Gather: whole slices along one axis.
void gather(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& indices = input(context, 1);
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", 0), x.rank());
  const AxisView view = view_along(x.shape(), axis);
  Shape shape = x.shape();
  shape.erase(shape.begin() + axis);
  shape.insert(shape.begin() + axis, indices.shape().begin(), indices.shape().end());
  Tensor& y = output(context, 0, x.dtype(), shape);
  std::vector<int64_t> rows = indices.to_i64();
  for (int64_t& row : rows) row = checked_index(row, view.axis);
  copy_rows(x, y, view, rows);
}

/// Calls `f(i, offset)` for each element i of `indices`, with the offset in a tensor of `shape`
/// that is i's own position with the coordinate along `axis` replaced by the index.
template <class F>
void for_each_element_index(const Tensor& indices, const Shape& shape, int64_t axis, F&& f) {
  require(indices.shape().size() == shape.size(), "indices and data differ in rank");
  const auto at = static_cast<size_t>(axis);
  for (size_t i = 0; i < shape.size(); ++i) {
    require(i == at || indices.shape()[i] <= shape[i], "indices reach beyond the data");
  }
  std::vector<int64_t> strides = row_major_strides(shape);
  const int64_t stride = std::exchange(strides[at], 0);
  const std::vector<int64_t> values = indices.to_i64();
  for_each_strided<1>(indices.shape(), {strides},
                      [&](int64_t i, const std::array<int64_t, 1>& base) {
                        const int64_t index = values[static_cast<size_t>(i)];
                        f(i, base[0] + checked_index(index, shape[at]) * stride);
                      });
}

void gather_elements(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& indices = input(context, 1);
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", 0), x.rank());
  Tensor& y = output(context, 0, x.dtype(), indices.shape());
  with_bits_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for_each_element_index(indices, x.shape(), axis,
                           [&](int64_t i, int64_t offset) { to[i] = from[offset]; });
  });
}

/// Offsets of the slices that the last dimension of `indices` addresses in a tensor of `shape`,
/// after `batch` shared leading dimensions.
std::vector<int64_t> slice_offsets(const Tensor& indices, const Shape& shape, int64_t batch) {
  const std::vector<int64_t> values = indices.to_i64();
  const std::vector<int64_t> strides = row_major_strides(shape);
  const auto first = static_cast<size_t>(batch);
  const auto depth = static_cast<size_t>(indices.shape().back());
  const std::span<const int64_t> leading(indices.shape().data(), indices.shape().size() - 1);
  const int64_t count = element_count(leading);
  const int64_t in_batch = element_count(leading.subspan(first));  // slices a batch
  const int64_t batch_stride = batch == 0 ? 0 : strides[first - 1];
  std::vector<int64_t> offsets(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    int64_t offset = in_batch == 0 ? 0 : i / in_batch * batch_stride;
    for (size_t d = 0; d < depth; ++d) {
      const int64_t index = values[static_cast<size_t>(i) * depth + d];
      offset += checked_index(index, shape[first + d]) * strides[first + d];
    }
    offsets[static_cast<size_t>(i)] = offset;
  }
  return offsets;
}

/// Elements in one slice of `shape` addressed by the last dimension of `indices`; checks ranks.
int64_t slice_size(const Tensor& indices, const Shape& shape, int64_t batch) {
  require(indices.rank() >= 1 && !shape.empty(), "indices and data must have a dimension");
  require(batch >= 0 && batch < indices.rank() && batch < static_cast<int64_t>(shape.size()),
          "batch_dims out of range");
  const int64_t depth = indices.shape().back();
  require(depth >= 1 && depth <= static_cast<int64_t>(shape.size()) - batch,
          "the last dimension of indices does not address the data");
  for (size_t i = 0; i < static_cast<size_t>(batch); ++i) {
    require(indices.shape()[i] == shape[i], "batch dimensions differ");
  }
  return element_count(std::span(shape).subspan(static_cast<size_t>(batch + depth)));
}

void gather_nd(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& indices = input(context, 1);
  const int64_t batch = context.attributes().get_int("batch_dims", 0);
  const int64_t slice = slice_size(indices, x.shape(), batch);
  Shape shape(indices.shape().begin(), indices.shape().end() - 1);
  shape.insert(shape.end(), x.shape().begin() + batch + indices.shape().back(), x.shape().end());
  Tensor& y = output(context, 0, x.dtype(), shape);
  if (y.size() == 0) return;
  const auto width = static_cast<size_t>(bits_of(x.dtype()) / 8);
  const auto block = static_cast<size_t>(slice) * width;
  std::byte* to = y.mutable_raw();
  for (const int64_t offset : slice_offsets(indices, x.shape(), batch)) {
    std::memcpy(to, x.raw() + static_cast<size_t>(offset) * width, block);
    to += block;
  }
}

enum class ScatterReduction { none, add, mul, min, max };

ScatterReduction scatter_reduction(const OperatorContext& context) {
  const std::string name = context.attributes().get_string("reduction", "none");
  if (name == "none") return ScatterReduction::none;
  if (name == "add") return ScatterReduction::add;
  if (name == "mul") return ScatterReduction::mul;
  if (name == "min") return ScatterReduction::min;
  if (name == "max") return ScatterReduction::max;
  fail("reduction is '" + name + "'; none, add, mul, min or max wanted");
}

template <class T>
T combine(T old, T update, ScatterReduction reduction) {
  // Integers wrap in u64, where wrapping is defined.
  using W = std::conditional_t<std::is_floating_point_v<T>, T, uint64_t>;
  switch (reduction) {
    case ScatterReduction::add:
      return static_cast<T>(static_cast<W>(old) + static_cast<W>(update));
    case ScatterReduction::mul:
      return static_cast<T>(static_cast<W>(old) * static_cast<W>(update));
    case ScatterReduction::min:
      return std::min(old, update);
    case ScatterReduction::max:
      return std::max(old, update);
    default:
      return update;
  }
}

/// Copies the data, then lets `scatter(apply)` call `apply(offset, update index)`.
template <class Scatter>
void scatter_into_copy(OperatorContext& context, Scatter&& scatter) {
  const Tensor& x = input(context, 0);
  const Tensor& updates = input(context, 2);
  require(updates.dtype() == x.dtype(), "updates and data differ in dtype");
  const ScatterReduction reduction = scatter_reduction(context);
  store(context, 0, x);
  Tensor& y = context.outputs[0];
  const auto run = [&]<class T>(Type<T>) {
    T* to = mutable_elements<T>(y);
    const T* from = elements<T>(updates);
    scatter([&](int64_t offset, int64_t update) {
      to[offset] = combine(to[offset], from[update], reduction);
    });
  };
  with_plain_type(x.dtype(), run);
}

void scatter_elements(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& indices = input(context, 1);
  require(input(context, 2).shape() == indices.shape(), "updates and indices differ in shape");
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", 0), x.rank());
  scatter_into_copy(context, [&](auto apply) {
    for_each_element_index(indices, x.shape(), axis,
                           [&](int64_t i, int64_t offset) { apply(offset, i); });
  });
}

void scatter_nd(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& indices = input(context, 1);
  const int64_t slice = slice_size(indices, x.shape(), 0);
  Shape shape(indices.shape().begin(), indices.shape().end() - 1);
  shape.insert(shape.end(), x.shape().begin() + indices.shape().back(), x.shape().end());
  require(input(context, 2).shape() == shape, "updates have not the shape that indices ask for");
  const std::vector<int64_t> offsets = slice_offsets(indices, x.shape(), 0);
  scatter_into_copy(context, [&](auto apply) {
    int64_t update = 0;
    for (const int64_t offset : offsets) {
      for (int64_t i = 0; i < slice; ++i) apply(offset + i, update++);
    }
  });
}

/// The slices along the axis (of the flattened input without one) whose condition is true.
void compress(OperatorContext& context) {
  const Tensor& condition = input(context, 1);
  require(condition.dtype() == DType::boolean && condition.rank() == 1,
          "1-D bool condition wanted");
  const bool flat = !context.attributes().has("axis");
  const Tensor& given = input(context, 0);
  const Tensor x = flat ? given.reshaped({given.size()}) : given;
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", 0), x.rank());
  const AxisView view = view_along(x.shape(), axis);
  require(condition.size() <= view.axis, "more conditions than the axis has elements");
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < condition.size(); ++i) {
    if (elements<bool>(condition)[i]) chosen.push_back(i);
  }
  Shape shape = x.shape();
  shape[static_cast<size_t>(axis)] = static_cast<int64_t>(chosen.size());
  Tensor& y = output(context, 0, x.dtype(), shape);
  copy_rows(x, y, view, chosen);
}

constexpr OperatorEntry kEntries[] = {
    {"Compress", unpacked<compress>},
    {"Gather", unpacked<gather>},
    {"GatherElements", unpacked<gather_elements>},
    {"GatherND", unpacked<gather_nd>},
    {"ScatterElements", widened<scatter_elements>},
    {"ScatterND", widened<scatter_nd>},
};

}  // namespace

std::span<const OperatorEntry> gather_scatter_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
