#include <algorithm>
#include <cmath>

#include "graph/error.h"
#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"

namespace ounce::ops {
namespace {

/// The axes that sizes, scales and roi speak of.
std::vector<size_t> resized_axes(const InferenceContext& context, size_t rank) {
  if (context.attributes().has("axes")) {
    return axis_indices(context.attributes().get_ints("axes"), rank);
  }
  std::vector<size_t> axes(rank);
  for (size_t i = 0; i < rank; ++i) axes[i] = i;
  return axes;
}

/// An omitted optional input may also be an empty tensor, as old exporters write it.
bool is_given(const InferenceContext& context, size_t input) {
  if (!context.has_input(input)) return false;
  const SymbolicShape* shape = context.shape(input);
  return shape == nullptr || shape->size() != 1 || !(shape->front() == Dim(0));
}

int64_t checked_extent(double extent) {
  if (!(extent >= 0) || extent > static_cast<double>(kMaxDim))
    throw Error("resized extent is too large");
  return static_cast<int64_t>(extent);
}

void apply_scales(const InferenceContext& context, const SymbolicShape& x,
                  const std::vector<size_t>& axes, SymbolicShape& y) {
  const Tensor* tensor = context.constant(2);
  if (tensor == nullptr) return;
  const std::vector<float> scales = tensor->to_f32();
  if (scales.size() != axes.size()) {
    throw Error(std::to_string(scales.size()) + " scales for " + std::to_string(axes.size()) +
                " axes");
  }
  const bool crops = context.attributes().get_string("coordinate_transformation_mode",
                                                     "half_pixel") == "tf_crop_and_resize";
  std::vector<float> roi;
  if (crops) {
    if (context.constant(1) == nullptr) return;
    roi = context.constant(1)->to_f32();
    if (roi.size() != 2 * axes.size()) throw Error("roi must hold two numbers an axis");
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    if (!(scales[i] > 0)) throw Error("scale " + std::to_string(scales[i]) + " is not positive");
    const Dim& dim = x[axes[i]];
    if (!dim.known()) {
      y[axes[i]] = scales[i] == 1 ? dim : Dim();
      continue;
    }
    // In single precision, as the scale is stored: 1/3 of 3 must be 1.
    float extent = static_cast<float>(dim.value) * scales[i];
    if (crops) extent *= roi[i + axes.size()] - roi[i];
    y[axes[i]] = checked_extent(std::floor(extent));
  }
}

void apply_sizes(const InferenceContext& context, const SymbolicShape& x,
                 const std::vector<size_t>& axes, SymbolicShape& y) {
  const auto sizes = constant_ints(context, 3);
  if (!sizes) return;
  if (sizes->size() != axes.size()) {
    throw Error(std::to_string(sizes->size()) + " sizes for " + std::to_string(axes.size()) +
                " axes");
  }
  for (const int64_t size : *sizes) {
    if (size < 0 || size > kMaxDim) throw Error("size is " + std::to_string(size));
  }
  const std::string policy = context.attributes().get_string("keep_aspect_ratio_policy", "stretch");
  if (policy == "stretch") {
    for (size_t i = 0; i < axes.size(); ++i) y[axes[i]] = (*sizes)[i];
    return;
  }
  if (policy != "not_larger" && policy != "not_smaller") {
    throw Error("unknown keep_aspect_ratio_policy '" + policy + "'");
  }
  std::optional<double> scale;
  for (size_t i = 0; i < axes.size(); ++i) {
    const Dim& dim = x[axes[i]];
    if (!dim.known()) return;
    if (dim.value == 0) throw Error("cannot resize an empty axis");
    const double ratio = static_cast<double>((*sizes)[i]) / static_cast<double>(dim.value);
    scale = !scale                   ? ratio
            : policy == "not_larger" ? std::min(*scale, ratio)
                                     : std::max(*scale, ratio);
  }
  for (const size_t axis : axes) {
    y[axis] = checked_extent(std::floor(*scale * static_cast<double>(x[axis].value) + 0.5));
  }
}

void infer_resize(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  const std::vector<size_t> axes = resized_axes(context, x->size());
  SymbolicShape y = *x;
  for (const size_t axis : axes) y[axis] = Dim();
  if (is_given(context, 3)) {
    apply_sizes(context, *x, axes, y);
  } else if (is_given(context, 2)) {
    apply_scales(context, *x, axes, y);
  } else {
    throw Error("neither scales nor sizes are given");
  }
  for (size_t i = 0; i < y.size(); ++i) {
    if ((*x)[i] == Dim(0) && y[i].known() && y[i].value > 0)
      throw Error("cannot resize an empty axis");
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

/// x [n, c, spatial...], grid [n, spatial..., number of spatial axes].
void infer_grid_sample(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  const SymbolicShape* grid = context.shape(1);
  if (x == nullptr || grid == nullptr) return;
  require_min_rank(*x, 3, "input");
  require_rank(*grid, x->size(), "grid");
  unified(grid->back(), static_cast<int64_t>(x->size() - 2), "grid coordinates and spatial axes");
  SymbolicShape y = {unified((*x)[0], (*grid)[0], "batch of input and grid"), (*x)[1]};
  y.insert(y.end(), grid->begin() + 1, grid->end() - 1);
  context.set_output(0, context.dtype(0), std::move(y));
}

/// Taps of the interpolation along one axis.
int64_t taps(const std::string& mode) {
  if (mode == "nearest") return 1;
  return mode == "cubic" || mode == "bicubic" ? 4 : 2;
}

Cost interpolation_cost(const Node& node, std::span<const Value* const>,
                        std::span<const Value* const> outputs) {
  const bool resizes = node.op == "Resize";
  const int64_t along_axis =
      taps(node.attributes.get_string("mode", resizes ? "nearest" : "linear"));
  return {.ops = saturating_product(elements(*outputs[0]), along_axis * along_axis)};
}

const OperatorSchema kRows[] = {
    {.name = "Resize",
     .max_inputs = 4,
     .since_opset = 11,
     .infer = infer_resize,
     .cost = interpolation_cost},
    {.name = "GridSample",
     .min_inputs = 2,
     .max_inputs = 2,
     .since_opset = 16,
     .infer = infer_grid_sample,
     .cost = interpolation_cost},
};

}  // namespace

Family resize_operators() {
  return kRows;
}

}  // namespace ounce::ops
