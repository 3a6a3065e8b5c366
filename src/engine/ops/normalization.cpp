#include <algorithm>

#include "engine/kernels/normalize.h"
#include "engine/kernels/pool.h"
#include "engine/ops/factories.h"

namespace ounce::engine {

std::unique_ptr<Step> make_softmax(const StepRequest& request) {
  const Node& node = request.node;
  const ValueId x = node.input(0);
  const Shape shape = request.shape(x);
  if (request.dtype(x) != DType::f32 || shape.empty() || shape.back() == 0) return nullptr;
  const auto rank = static_cast<int64_t>(shape.size());
  if (normalize_axis(node.attributes.get_int("axis", -1), rank) != rank - 1) return nullptr;
  SoftmaxShape rows;
  rows.columns = shape.back();
  rows.rows = element_count(shape) / rows.columns;
  rows.ldx = rows.ldy = rows.columns;
  const ValueId y = node.output(0);
  return make_step("softmax_f32", [=](const RunContext& context) {
    softmax_f32(context.kernels, context.at<const float>(x), context.at<float>(y), rows);
  });
}

std::unique_ptr<Step> make_layer_norm(const StepRequest& request) {
  const Node& node = request.node;
  const ValueId x = node.input(0);
  const ValueId gamma = node.input(1);
  const ValueId beta = node.input(2);
  const Shape shape = request.shape(x);
  if (request.dtype(x) != DType::f32 || shape.empty() || shape.back() == 0) return nullptr;
  const auto rank = static_cast<int64_t>(shape.size());
  const bool only_y = node.output(1) == kNoValue && node.output(2) == kNoValue;
  if (normalize_axis(node.attributes.get_int("axis", -1), rank) != rank - 1 || !only_y) {
    return nullptr;
  }
  const int64_t columns = shape.back();
  const int64_t rows = element_count(shape) / columns;
  const auto is_vector = [&](ValueId id) {
    return id == kNoValue || element_count(request.shape(id)) == columns;
  };
  if (!is_vector(gamma) || !is_vector(beta)) return nullptr;
  const float epsilon = node.attributes.get_float("epsilon", 1e-5F);
  const ValueId y = node.output(0);
  return make_step("layer_norm_f32", [=](const RunContext& context) {
    layer_norm_f32(context.kernels, context.at<const float>(x), context.at<float>(y), rows, columns,
                   context.maybe<const float>(gamma), context.maybe<const float>(beta), epsilon);
  });
}

std::unique_ptr<Step> make_mean(const StepRequest& request) {
  const Node& node = request.node;
  const ValueId x = node.input(0);
  const Tensor* axes = request.constant(node.input(1));
  const Shape shape = request.shape(x);
  if (axes == nullptr || axes->size() == 0 || request.dtype(x) != DType::f32 ||
      element_count(shape) == 0) {
    return nullptr;
  }
  std::vector<int64_t> list = axes->to_i64();
  for (int64_t& axis : list) axis = normalize_axis(axis, static_cast<int64_t>(shape.size()));
  std::sort(list.begin(), list.end());
  // Neighbouring axes are one: the mean over the pixels of [batch, pixels, channels].
  const int64_t first = list.front();
  const int64_t last = list.back();
  if (last - first + 1 != axes->size()) return nullptr;
  const auto size = [&](int64_t begin, int64_t end) {
    return element_count(Shape(shape.begin() + begin, shape.begin() + end));
  };
  const int64_t batch = size(0, first);
  const int64_t pixels = size(first, last + 1);
  const int64_t channels = size(last + 1, static_cast<int64_t>(shape.size()));
  const ValueId y = node.output(0);
  return make_step("mean_f32", [=](const RunContext& context) {
    global_average_pool_f32(context.kernels, context.at<const float>(x), context.at<float>(y),
                            batch, pixels, channels);
  });
}

}  // namespace ounce::engine
