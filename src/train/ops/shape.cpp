#include "graph/ops/slice.h"
#include "train/ops/common.h"
#include "train/ops/families.h"
#include "train/tensor.h"

namespace ounce::train::ops {
namespace {

Outputs identity(const OpCall& call) {
  return {call.input(0)};
}

/// 0 copies a dimension (unless `allowzero`), -1 is what remains.
Outputs reshape(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  std::vector<int64_t> shape = call.integers(1);
  if (call.attributes().get_int("allowzero", 0) == 0) {
    for (size_t i = 0; i < shape.size(); ++i) {
      if (shape[i] != 0) continue;
      require(static_cast<int64_t>(i) < x.dim(),
              "0 in the shape copies a dimension that is not there");
      shape[i] = x.size(static_cast<int64_t>(i));
    }
  }
  return {x.reshape(shape)};
}

Outputs flatten(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  int64_t axis = call.attributes().get_int("axis", 1);
  if (axis != x.dim()) axis = normalize_axis(axis, x.dim());
  const auto at = static_cast<size_t>(axis);
  return {x.reshape({element_count(x.sizes().slice(0, at)), element_count(x.sizes().slice(at))})};
}

Outputs squeeze(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  if (!call.has(1)) return {x.squeeze()};
  std::vector<int64_t> axes = normalized_axes(call.integers(1), x.dim());
  std::sort(axes.rbegin(), axes.rend());
  at::Tensor y = x;
  for (const int64_t axis : axes) {
    require(y.size(axis) == 1, "a squeezed dimension is not 1");
    y = y.squeeze(axis);
  }
  return {y};
}

Outputs unsqueeze(const OpCall& call) {
  at::Tensor y = call.input(0);
  const std::vector<int64_t> given = call.integers(1);
  std::vector<int64_t> axes = normalized_axes(given, y.dim() + static_cast<int64_t>(given.size()));
  std::sort(axes.begin(), axes.end());
  for (const int64_t axis : axes) y = y.unsqueeze(axis);
  return {y};
}

Outputs transpose(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  std::vector<int64_t> reversed = counted(x.dim());
  std::reverse(reversed.begin(), reversed.end());
  return {x.permute(call.attributes().get_ints("perm", reversed))};
}

Outputs concat(const OpCall& call) {
  const std::vector<at::Tensor> parts(call.inputs.begin(), call.inputs.end());
  return {at::cat(parts, axis_of(call, 0))};
}

/// Parts as given, or the axis in equal chunks, the last one smaller.
Outputs split(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const int64_t axis = axis_of(call, 0);
  std::vector<int64_t> extents;
  if (call.has(1)) {
    extents = call.integers(1);
  } else {
    const auto outputs = static_cast<int64_t>(call.node.outputs.size());
    const int64_t parts = call.attributes().get_int("num_outputs", outputs);
    require(parts == outputs && parts > 0, "num_outputs differs from the outputs there are");
    const int64_t chunk = (x.size(axis) + parts - 1) / parts;
    extents.assign(static_cast<size_t>(parts), chunk);
    extents.back() = x.size(axis) - chunk * (parts - 1);
  }
  return at::split_with_sizes(x, extents, axis);
}

Outputs slice(const OpCall& call) {
  at::Tensor y = call.input(0);
  const std::vector<int64_t> starts = call.integers(1);
  const std::vector<int64_t> ends = call.integers(2);
  const auto count = static_cast<int64_t>(starts.size());
  const std::vector<int64_t> axes =
      normalized_axes(call.has(3) ? call.integers(3) : counted(count), y.dim());
  const std::vector<int64_t> steps =
      call.has(4) ? call.integers(4) : std::vector<int64_t>(starts.size(), 1);
  require(
      ends.size() == starts.size() && axes.size() == starts.size() && steps.size() == starts.size(),
      "starts, ends, axes and steps differ in length");
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t axis = axes[i];
    const auto range = ounce::ops::resolve_slice(starts[i], ends[i], steps[i], y.size(axis));
    if (range.count <= 1 || range.step > 0) {
      const int64_t last = range.count == 0 ? 0 : range.start + (range.count - 1) * range.step + 1;
      const int64_t step = range.count <= 1 ? 1 : range.step;
      y = y.slice(axis, range.count == 0 ? 0 : range.start, last, step);
    } else {
      // libtorch has no negative strides.
      const int64_t first = range.start + (range.count - 1) * range.step;
      y = y.slice(axis, first, range.start + 1, -range.step).flip(axis);
    }
  }
  return {y};
}

Outputs expand(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  // Both broadcast: a 1 in the shape leaves a dimension as it is.
  return {x.expand(at::infer_size(x.sizes(), call.integers(1)))};
}

Outputs tile(const OpCall& call) {
  const std::vector<int64_t> repeats = call.integers(1);
  require(static_cast<int64_t>(repeats.size()) == call.input(0).dim(),
          "not one repeat a dimension");
  return {call.input(0).repeat(repeats)};
}

/// The input index that padded position `at` (input coordinates) shows.
int64_t padded_source(int64_t at, int64_t extent, const std::string& mode) {
  require(extent > 0, "cannot pad an empty dimension with its own elements");
  if (at >= 0 && at < extent) return at;
  if (mode == "edge") return at < 0 ? 0 : extent - 1;
  const int64_t period = mode == "wrap" || extent == 1 ? extent : 2 * (extent - 1);
  const int64_t folded = ((at % period) + period) % period;
  return folded < extent ? folded : period - folded;
}

/// Negative pads crop.
Outputs pad(const OpCall& call) {
  at::Tensor y = call.input(0);
  const std::vector<int64_t> given = call.integers(1);
  const std::vector<int64_t> axes =
      call.has(3) ? normalized_axes(call.integers(3), y.dim()) : counted(y.dim());
  require(given.size() == 2 * axes.size(), "not two pads an axis");
  const std::string mode = call.attributes().get_string("mode", "constant");
  if (mode == "constant") {
    std::vector<int64_t> pads(static_cast<size_t>(2 * y.dim()), 0);  // from the last dimension on
    for (size_t i = 0; i < axes.size(); ++i) {
      const auto at = static_cast<size_t>(2 * (y.dim() - 1 - axes[i]));
      pads[at] = given[i];
      pads[at + 1] = given[i + axes.size()];
    }
    const bool has_value = call.has(2);
    return {at::constant_pad_nd(y, pads, has_value ? call.inputs[2].item() : at::Scalar(0))};
  }
  require(mode == "reflect" || mode == "edge" || mode == "wrap",
          "mode must be constant, reflect, edge or wrap");
  for (size_t i = 0; i < axes.size(); ++i) {
    std::vector<int64_t> sources;
    const int64_t extent = y.size(axes[i]);
    for (int64_t at = -given[i]; at < extent + given[i + axes.size()]; ++at) {
      sources.push_back(padded_source(at, extent, mode));
    }
    y = y.index_select(axes[i], indices_like(sources, y));
  }
  return {y};
}

Outputs depth_to_space(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  require(x.dim() == 4, "a 4-dimensional input wanted");
  const int64_t block = call.attributes().get_int("blocksize", 0);
  require(block > 0 && x.size(1) % (block * block) == 0,
          "blocksize^2 does not divide the channels");
  const int64_t n = x.size(0), depth = x.size(1) / (block * block), h = x.size(2), w = x.size(3);
  const std::string mode = call.attributes().get_string("mode", "DCR");
  if (mode == "CRD") return {at::pixel_shuffle(x, block)};
  require(mode == "DCR", "mode must be DCR or CRD");
  return {x.reshape({n, block, block, depth, h, w})
              .permute({0, 3, 4, 1, 5, 2})
              .reshape({n, depth, h * block, w * block})};
}

Outputs space_to_depth(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  require(x.dim() == 4, "a 4-dimensional input wanted");
  const int64_t block = call.attributes().get_int("blocksize", 0);
  require(block > 0 && x.size(2) % block == 0 && x.size(3) % block == 0,
          "blocksize does not divide height and width");
  const int64_t n = x.size(0), c = x.size(1), h = x.size(2) / block, w = x.size(3) / block;
  return {x.reshape({n, c, h, block, w, block})
              .permute({0, 3, 5, 1, 2, 4})
              .reshape({n, c * block * block, h, w})};
}

Outputs shape_operator(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const auto clamp = [&](int64_t at) {
    return std::clamp(at < 0 ? at + x.dim() : at, int64_t{0}, x.dim());
  };
  const int64_t start = clamp(call.attributes().get_int("start", 0));
  const int64_t end = clamp(call.attributes().get_int("end", x.dim()));
  const std::vector<int64_t> dims(x.sizes().begin() + start,
                                  x.sizes().begin() + std::max(start, end));
  return {indices_like(dims, x)};
}

Outputs size_operator(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  return {at::scalar_tensor(x.numel(), at::kLong).to(x.device())};
}

/// Drops elements in training; in use the input as it is, and a mask that keeps everything.
Outputs dropout(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const double ratio = number(call, 1, 0.5);
  if (!call.training || ratio == 0.0) return {x, at::ones_like(x, at::kBool)};
  const auto [y, mask] = at::native_dropout(x, ratio, true);
  return {y, mask};
}

Outputs trilu(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  require(x.dim() >= 2, "an input of rank >= 2 wanted");
  const int64_t rows = x.size(-2), columns = x.size(-1);
  // Beyond the matrix k changes nothing.
  const int64_t k = std::clamp(integer(call, 1, 0), -rows - 1, columns + 1);
  return {call.attributes().get_int("upper", 1) != 0 ? at::triu(x, k) : at::tril(x, k)};
}

constexpr OpRow kRows[] = {
    {"Concat", concat},
    {"DepthToSpace", depth_to_space},
    {"Dropout", dropout},
    {"Expand", expand},
    {"Flatten", flatten},
    {"Identity", identity},
    {"Pad", pad},
    {"Reshape", reshape},
    {"Shape", shape_operator},
    {"Size", size_operator},
    {"Slice", slice},
    {"SpaceToDepth", space_to_depth},
    {"Split", split},
    {"Squeeze", squeeze},
    {"Tile", tile},
    {"Transpose", transpose},
    {"Trilu", trilu},
    {"Unsqueeze", unsqueeze},
};

}  // namespace

Family shape_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
