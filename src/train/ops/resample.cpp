#include "graph/ops/resample.h"

#include "graph/operator.h"
#include "train/ops/common.h"
#include "train/ops/families.h"
#include "train/tensor.h"

namespace ounce::train::ops {
namespace {

using ounce::ops::ResampledLine;
using ounce::ops::Resampling;
using ounce::ops::ResizeOperands;

/// The output's shape, by the rule that the graph has for it.
Shape inferred_shape(const OpCall& call) {
  std::vector<Value> values(call.inputs.size());
  std::vector<const Value*> operands(call.inputs.size(), nullptr);
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    if (!call.has(i)) continue;
    const at::Tensor& operand = call.inputs[i];
    values[i].shape = symbolic(operand.sizes().vec());
    if (i > 0) values[i].constant = from_torch(operand);
    operands[i] = &values[i];
  }
  Value output;
  InferenceContext context(call.node, operands, std::span(&output, 1));
  require_operator(call.node).infer(context);
  const auto shape = output.shape ? concrete(*output.shape) : std::nullopt;
  if (!shape) throw Error("the output's shape does not follow from the operands");
  return *shape;
}

bool is_given(const OpCall& call, size_t i) {
  return call.has(i) && call.inputs[i].numel() > 0;
}

ResizeOperands operands_of(const OpCall& call, const Resampling& settings) {
  ResizeOperands operands;
  if (is_given(call, 3)) {
    operands.sizes = call.integers(3);
  } else {
    operands.scales = from_torch(call.input(2)).to_f32();
  }
  if (settings.crops()) operands.roi = from_torch(call.input(1)).to_f32();
  return operands;
}

/// A number for each output element along `axis`, on the device of `x`.
template <class T>
at::Tensor line_of(const std::vector<T>& numbers, const at::Tensor& x, int64_t axis) {
  return along_axis(at::tensor(at::ArrayRef<T>(numbers)).to(x.options()), axis, x.dim());
}

/// y[p] = sum over the taps of p of weight * x[index], along one axis: one gather for each tap.
at::Tensor resample(const at::Tensor& x, int64_t axis, const ResampledLine& line) {
  size_t most = 0;
  for (const auto& taps : line.taps) most = std::max(most, taps.size());
  at::Tensor sum;
  for (size_t t = 0; t < most; ++t) {
    std::vector<int64_t> indices;
    std::vector<double> weights;
    for (const auto& taps : line.taps) {
      indices.push_back(t < taps.size() ? taps[t].index : 0);
      weights.push_back(t < taps.size() ? taps[t].weight : 0.0);
    }
    const at::Tensor part =
        x.index_select(axis, indices_like(indices, x)) * line_of(weights, x, axis);
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

at::Tensor nearest(const at::Tensor& x, int64_t axis, const ResampledLine& line) {
  std::vector<int64_t> indices;
  for (const auto& taps : line.taps) indices.push_back(taps.front().index);
  return x.index_select(axis, indices_like(indices, x));
}

Outputs resize(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const Resampling settings(call.attributes());
  const Shape shape = inferred_shape(call);
  if (element_count(shape) == 0) return {at::zeros(shape, x.options())};
  const auto axes = ounce::ops::resampled_axes(settings, call.attributes(),
                                               operands_of(call, settings), x.sizes(), shape);
  const bool copies = settings.mode == ounce::ops::Interpolation::nearest;
  at::Tensor y = copies || x.is_floating_point() ? x : x.to(at::kDouble);
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<int64_t>(i);
    const ResampledLine line = resample_line(settings, axes[i]);
    if (!line.is_identity(axes[i].in)) {
      y = copies ? nearest(y, axis, line) : resample(y, axis, line);
    }
    if (settings.crops()) {
      const std::vector<int64_t> outside(line.outside.begin(), line.outside.end());
      y = y.masked_fill(line_of(outside, y, axis).to(at::kBool), settings.extrapolation);
    }
  }
  return {y.to(x.scalar_type())};
}

// The values that libtorch numbers modes by.
enum class Sampling : int64_t { linear = 0, nearest = 1, cubic = 2 };
enum class Padding : int64_t { zeros = 0, border = 1, reflection = 2 };

Sampling sampling_of(const AttributeMap& attributes) {
  const std::string name = attributes.get_string("mode", "linear");
  if (name == "linear" || name == "bilinear") return Sampling::linear;
  if (name == "nearest") return Sampling::nearest;
  if (name == "cubic" || name == "bicubic") return Sampling::cubic;
  throw Error("mode is '" + name + "'; nearest, linear or cubic wanted");
}

Padding padding_of(const AttributeMap& attributes) {
  const std::string name = attributes.get_string("padding_mode", "zeros");
  if (name == "zeros") return Padding::zeros;
  if (name == "border") return Padding::border;
  if (name == "reflection") return Padding::reflection;
  throw Error("padding_mode is '" + name + "'; zeros, border or reflection wanted");
}

/// Applies `move(positions, extent)` to where the grid points along each axis, in elements.
template <class Move>
at::Tensor move_grid(const at::Tensor& grid, const at::Tensor& x, bool align_corners, Move move) {
  std::vector<at::Tensor> moved;
  const double edge = align_corners ? 0.0 : 0.5;  // elements between the first one and -1
  for (int64_t i = 0; i < grid.size(-1); ++i) {   // from the innermost axis on
    const int64_t extent = x.size(x.dim() - 1 - i);
    const double half = static_cast<double>(extent - 1) / 2.0 + edge;
    const at::Tensor positions = (grid.select(-1, i) + 1) * half - edge;
    // A single element with its corners aligned: the grid says nothing.
    moved.push_back((move(positions, extent) + edge) / (half > 0.0 ? half : 1.0) - 1);
  }
  return at::stack(moved, -1);
}

/// x [batch, channels, spatial...] read at grid [batch, out spatial..., axes].
Outputs grid_sample(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const Sampling mode = sampling_of(call.attributes());
  const Padding padding = padding_of(call.attributes());
  const bool corners = call.attributes().get_int("align_corners", 0) != 0;
  at::Tensor grid = call.input(1);
  require(x.dim() >= 3 && grid.dim() == x.dim() && grid.size(-1) == x.dim() - 2,
          "not one grid coordinate a spatial axis");
  if (mode == Sampling::nearest) {
    // Ties go to the even element; libtorch's rule differs between two and three dimensions.
    grid = move_grid(grid, x, corners, [](const at::Tensor& at, int64_t) { return at.round(); });
  } else if (mode == Sampling::cubic && padding == Padding::border) {
    // The point is brought to the border, where libtorch brings each of its taps there.
    const at::Tensor clamped =
        move_grid(grid, x, corners,
                  [](const at::Tensor& at, int64_t extent) { return at.clamp(0, extent - 1); });
    grid = at::where(grid.abs() > 1, clamped, grid);
  }
  return {at::grid_sampler(x, grid, static_cast<int64_t>(mode), static_cast<int64_t>(padding),
                           corners)};
}

constexpr OpRow kRows[] = {
    {"GridSample", grid_sample},
    {"Resize", resize},
};

}  // namespace

Family resample_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
