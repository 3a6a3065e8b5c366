#include <algorithm>
#include <optional>

#include "engine/kernels/tensor/normalize.h"
#include "engine/kernels/tensor/pool.h"
#include "engine/ops/factories.h"

namespace ounce::engine {

namespace {

/// The operand as rows along its last axis.
struct Rows {
  int64_t rows = 0;
  int64_t columns = 0;
};

/// Input 0, when it is f32 and the node normalises along its last axis alone.
std::optional<Rows> last_axis_rows(const StepRequest& request) {
  const ValueId x = request.node.input(0);
  const Shape shape = request.shape(x);
  if (request.dtype(x) != DType::f32 || shape.empty() || shape.back() == 0) return std::nullopt;
  const auto rank = static_cast<int64_t>(shape.size());
  if (normalize_axis(request.node.attributes.get_int("axis", -1), rank) != rank - 1) {
    return std::nullopt;
  }
  return Rows{element_count(shape) / shape.back(), shape.back()};
}

/// An omitted operand, or one value a column.
bool is_column_vector(const StepRequest& request, ValueId id, const Rows& rows) {
  if (id == kNoValue) return true;
  return request.dtype(id) == DType::f32 && element_count(request.shape(id)) == rows.columns;
}

float epsilon_of(const Node& node) {
  return node.attributes.get_float("epsilon", 1e-5F);
}

}  // namespace

std::unique_ptr<Step> make_softmax(const StepRequest& request) {
  const auto size = last_axis_rows(request);
  if (!size) return nullptr;
  SoftmaxShape rows;
  rows.rows = size->rows;
  rows.columns = rows.ldx = rows.ldy = size->columns;
  const ValueId x = request.node.input(0);
  const ValueId y = request.node.output(0);
  return make_step("softmax_f32", [=](const RunContext& context) {
    softmax_f32(context.kernels, context.at<const float>(x), context.at<float>(y), rows);
  });
}

std::unique_ptr<Step> make_layer_norm(const StepRequest& request) {
  const Node& node = request.node;
  const ValueId gamma = node.input(1);
  const ValueId beta = node.input(2);
  const auto size = last_axis_rows(request);
  const bool only_y = node.output(1) == kNoValue && node.output(2) == kNoValue;
  if (!size || !only_y || !is_column_vector(request, gamma, *size) ||
      !is_column_vector(request, beta, *size)) {
    return nullptr;
  }
  const ValueId x = node.input(0);
  const ValueId y = node.output(0);
  const float epsilon = epsilon_of(node);
  return make_step("layer_norm_f32", [=, rows = *size](const RunContext& context) {
    layer_norm_f32(context.kernels, context.at<const float>(x), context.at<float>(y), rows.rows,
                   rows.columns, context.maybe<const float>(gamma),
                   context.maybe<const float>(beta), epsilon);
  });
}

std::unique_ptr<Step> make_rms_norm(const StepRequest& request) {
  const Node& node = request.node;
  const ValueId gamma = node.input(1);
  const auto size = last_axis_rows(request);
  if (!size || !is_column_vector(request, gamma, *size)) return nullptr;
  const ValueId x = node.input(0);
  const ValueId y = node.output(0);
  const float epsilon = epsilon_of(node);
  return make_step("rms_norm_f32", [=, rows = *size](const RunContext& context) {
    rms_norm_f32(context.kernels, context.at<const float>(x), context.at<float>(y), rows.rows,
                 rows.columns, context.maybe<const float>(gamma), epsilon);
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
