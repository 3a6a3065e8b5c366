#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/reference/common.h"
#include "engine/reference/families.h"
#include "graph/ops/slice.h"

namespace ounce::engine::reference {
namespace {

void concat(OperatorContext& context) {
  const Tensor& first = input(context, 0);
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", 0), first.rank());
  const auto at = static_cast<size_t>(axis);
  Shape shape = first.shape();
  shape[at] = 0;
  for (size_t n = 0; n < context.inputs.size(); ++n) {
    Shape expected = input(context, n).shape();
    require(expected.size() == shape.size() && context.inputs[n].dtype() == first.dtype(),
            "operands differ in rank or dtype");
    const int64_t extent = std::exchange(expected[at], shape[at]);
    require(expected == shape, "operands differ outside the axis");
    shape[at] = checked_sum(shape[at], extent);
  }
  Tensor& y = output(context, 0, first.dtype(), shape);
  if (y.size() == 0) return;
  const auto width = static_cast<size_t>(bits_of(y.dtype()) / 8);
  const AxisView view = view_along(shape, axis);
  std::byte* to = y.mutable_raw();
  for (int64_t o = 0; o < view.outer; ++o) {
    for (const Tensor& x : context.inputs) {
      const size_t block = static_cast<size_t>(x.shape()[at] * view.inner) * width;
      if (block > 0) std::memcpy(to, x.raw() + static_cast<size_t>(o) * block, block);
      to += block;
    }
  }
}

/// Extents of the parts: as given, or the axis in equal chunks, the last one smaller.
std::vector<int64_t> split_extents(const OperatorContext& context, int64_t extent) {
  if (context.has_input(1)) return integers(context, 1);
  const auto outputs = static_cast<int64_t>(context.outputs.size());
  const int64_t parts = context.attributes().get_int("num_outputs", outputs);
  require(parts == outputs && parts > 0, "num_outputs differs from the outputs there are");
  const int64_t chunk = (extent + parts - 1) / parts;
  std::vector<int64_t> extents(static_cast<size_t>(parts), chunk);
  extents.back() = extent - chunk * (parts - 1);
  return extents;
}

void split(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", 0), x.rank());
  const auto at = static_cast<size_t>(axis);
  const std::vector<int64_t> extents = split_extents(context, x.shape()[at]);
  require(extents.size() == context.outputs.size(), "not one extent for each output");
  int64_t total = 0;
  for (const int64_t extent : extents) {
    require(extent >= 0, "negative extent");
    total = checked_sum(total, extent);
  }
  require(total == x.shape()[at], "the extents do not add up to the axis");
  const std::vector<int64_t> strides = row_major_strides(x.shape());
  int64_t begin = 0;
  for (size_t n = 0; n < extents.size(); ++n) {
    if (wants_output(context, n)) {
      Shape shape = x.shape();
      shape[at] = extents[n];
      copy_strided(x, output(context, n, x.dtype(), shape), shape, strides, begin * strides[at]);
    }
    begin += extents[n];
  }
}

void slice(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const std::vector<int64_t> starts = integers(context, 1);
  const std::vector<int64_t> ends = integers(context, 2);
  std::vector<int64_t> all(starts.size());
  std::iota(all.begin(), all.end(), 0);
  const std::vector<int64_t> axes = normalized_axes(integers(context, 3, all), x.rank());
  const std::vector<int64_t> steps = integers(context, 4, std::vector<int64_t>(starts.size(), 1));
  require(
      ends.size() == starts.size() && axes.size() == starts.size() && steps.size() == starts.size(),
      "starts, ends, axes and steps differ in length");
  Shape shape = x.shape();
  std::vector<int64_t> strides = row_major_strides(shape);
  int64_t base = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    const auto axis = static_cast<size_t>(axes[i]);
    const ops::SliceRange range = ops::resolve_slice(starts[i], ends[i], steps[i], shape[axis]);
    shape[axis] = range.count;
    if (range.count > 0) base += range.start * strides[axis];
    strides[axis] *= range.count > 1 ? steps[i] : 1;  // one element: the step may be anything
  }
  Tensor& y = output(context, 0, x.dtype(), shape);
  if (y.size() > 0) copy_strided(x, y, shape, strides, base);
}

void tile(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const std::vector<int64_t> repeats = integers(context, 1);
  require(static_cast<int64_t>(repeats.size()) == x.rank(), "not one repeat a dimension");
  // [repeat_0, dim_0, repeat_1, dim_1, ...], walked with stride 0 along the repeats.
  const std::vector<int64_t> strides = row_major_strides(x.shape());
  Shape shape, interleaved;
  std::vector<int64_t> walk;
  for (size_t i = 0; i < repeats.size(); ++i) {
    require(repeats[i] >= 0, "negative repeat");
    shape.push_back(checked_product(repeats[i], x.shape()[i]));
    interleaved.insert(interleaved.end(), {repeats[i], x.shape()[i]});
    walk.insert(walk.end(), {0, strides[i]});
  }
  copy_strided(x, output(context, 0, x.dtype(), shape), interleaved, walk);
}

enum class PadMode { constant, reflect, edge, wrap };

PadMode pad_mode(const OperatorContext& context) {
  const std::string mode = context.attributes().get_string("mode", "constant");
  if (mode == "constant") return PadMode::constant;
  if (mode == "reflect") return PadMode::reflect;
  if (mode == "edge") return PadMode::edge;
  if (mode == "wrap") return PadMode::wrap;
  fail("mode is '" + mode + "'; constant, reflect, edge or wrap wanted");
}

/// The input index that padded position `at` (input coordinates) shows, or -1 for the constant.
int64_t padded_source(int64_t at, int64_t dim, PadMode mode) {
  if (at >= 0 && at < dim) return at;
  if (mode == PadMode::constant) return -1;
  require(dim > 0, "cannot pad an empty dimension with its own elements");
  if (mode == PadMode::edge) return at < 0 ? 0 : dim - 1;
  const int64_t period = mode == PadMode::wrap || dim == 1 ? dim : 2 * (dim - 1);
  const int64_t folded = ((at % period) + period) % period;
  return folded < dim ? folded : period - folded;
}

/// For each output position of each dimension the input index to read, -1: the constant.
std::vector<std::vector<int64_t>> pad_sources(const OperatorContext& context, Shape& shape) {
  const Tensor& x = input(context, 0);
  const std::vector<int64_t> pads = integers(context, 1);
  std::vector<int64_t> all(static_cast<size_t>(x.rank()));
  std::iota(all.begin(), all.end(), 0);
  const std::vector<int64_t> axes = normalized_axes(integers(context, 3, all), x.rank());
  require(pads.size() == 2 * axes.size(), "not two pads an axis");
  const PadMode mode = pad_mode(context);
  shape = x.shape();
  std::vector<int64_t> begins(shape.size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(axes[i]);
    begins[axis] = pads[i];
    shape[axis] = checked_sum(checked_sum(shape[axis], pads[i]), pads[i + axes.size()]);
    require(shape[axis] >= 0, "pads leave a negative dimension");
  }
  std::vector<std::vector<int64_t>> sources(shape.size());
  if (element_count(shape) == 0) return sources;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    for (int64_t i = 0; i < shape[axis]; ++i) {
      sources[axis].push_back(
          padded_source(checked_difference(i, begins[axis]), x.shape()[axis], mode));
    }
  }
  return sources;
}

void pad(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  Shape shape;
  const std::vector<std::vector<int64_t>> sources = pad_sources(context, shape);
  Tensor& y = output(context, 0, x.dtype(), shape);
  const bool has_value = context.has_input(2);
  require(!has_value || (context.inputs[2].dtype() == x.dtype() && context.inputs[2].size() == 1),
          "the constant must be one element of the input's dtype");
  const std::vector<int64_t> strides = row_major_strides(x.shape());
  with_bits_type(x.dtype(), [&]<class T>(Type<T>) {
    const T filler = has_value ? elements<T>(context.inputs[2])[0] : T{0};
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (Walker<0> walker(shape, {}); !walker.done(); walker.next()) {
      int64_t offset = 0;
      for (size_t axis = 0; axis < shape.size() && offset >= 0; ++axis) {
        const int64_t source = sources[axis][static_cast<size_t>(walker.index()[axis])];
        offset = source < 0 ? -1 : offset + source * strides[axis];
      }
      *to++ = offset < 0 ? filler : from[offset];
    }
  });
}

/// Keeps the upper or lower triangle of the last two dimensions.
void trilu(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  require(x.rank() >= 2, "an input of rank >= 2 wanted");
  const bool upper = context.attributes().get_int("upper", 1) != 0;
  const int64_t rows = x.shape()[x.shape().size() - 2];
  const int64_t columns = x.shape().back();
  // Beyond the matrix k changes nothing: clamped, so that row + k cannot overflow.
  const int64_t k = std::clamp(integer(context, 1, 0), -rows - 1, columns + 1);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_bits_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (int64_t i = 0; i < x.size(); ++i) {
      const int64_t diagonal = i % columns - (i / columns) % rows;
      to[i] = (upper ? diagonal >= k : diagonal <= k) ? from[i] : T{0};
    }
  });
}

constexpr OperatorEntry kEntries[] = {
    {"Concat", unpacked<concat>}, {"Pad", unpacked<pad>},   {"Slice", unpacked<slice>},
    {"Split", unpacked<split>},   {"Tile", unpacked<tile>}, {"Trilu", unpacked<trilu>},
};

}  // namespace

std::span<const OperatorEntry> slicing_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
