#include "engine/ops/factories.h"

#include "engine/kernels/normalize.h"

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

}  // namespace ounce::engine
