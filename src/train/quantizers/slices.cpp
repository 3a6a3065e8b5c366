#include "train/quantizers/slices.h"

#include <string>
#include <vector>

#include "graph/error.h"

namespace ounce::train {
namespace {

/// The axis counted from the first, after checking that `x` has so many slices.
int64_t checked_axis(const at::Tensor& x, const Slices& slices) {
  const int64_t axis = slices.axis < 0 ? slices.axis + x.dim() : slices.axis;
  if (axis >= 0 && axis < x.dim() && x.size(axis) == slices.count) return axis;
  std::string shape;
  for (const int64_t extent : x.sizes()) {
    shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
  }
  throw Error(std::to_string(slices.count) + " scales along axis " + std::to_string(slices.axis) +
              " do not fit a value of shape [" + shape + ']');
}

/// `reduce` over the dimensions of each slice.
template <class Reduce>
at::Tensor reduced(const at::Tensor& x, const Slices& slices, Reduce reduce) {
  const int64_t axis = slices.count == 1 ? -1 : checked_axis(x, slices);
  std::vector<int64_t> dims;
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (d != axis) dims.push_back(d);
  }
  // To libtorch a list of no dimensions means all of them.
  if (axis >= 0 && dims.empty()) return x;
  return reduce(x, dims).reshape({slices.count});
}

}  // namespace

at::Tensor along(const at::Tensor& values, const Slices& slices, const at::Tensor& x) {
  if (slices.count == 1) return x.dim() == 0 ? values.reshape({}) : values;
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[static_cast<size_t>(checked_axis(x, slices))] = slices.count;
  return values.reshape(shape);
}

at::Tensor sum_of_slices(const at::Tensor& x, const Slices& slices) {
  return reduced(x, slices, [](const at::Tensor& t, at::IntArrayRef dims) { return t.sum(dims); });
}

at::Tensor mean_of_slices(const at::Tensor& x, const Slices& slices) {
  return reduced(x, slices, [](const at::Tensor& t, at::IntArrayRef dims) { return t.mean(dims); });
}

at::Tensor least_of_slices(const at::Tensor& x, const Slices& slices) {
  return reduced(x, slices, [](const at::Tensor& t, at::IntArrayRef dims) { return t.amin(dims); });
}

at::Tensor largest_of_slices(const at::Tensor& x, const Slices& slices) {
  return reduced(x, slices, [](const at::Tensor& t, at::IntArrayRef dims) { return t.amax(dims); });
}

std::pair<at::Tensor, at::Tensor> ends_of_slices(const at::Tensor& x, const Slices& slices) {
  if (slices.count > 1) return {least_of_slices(x, slices), largest_of_slices(x, slices)};
  const auto [least, largest] = at::aminmax(x);
  return {least.reshape({1}), largest.reshape({1})};
}

}  // namespace ounce::train
