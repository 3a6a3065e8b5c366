#include "tasks/super_resolution/scale.h"

#include <span>

#include "engine/reference/reference.h"
#include "graph/error.h"
#include "graph/operator.h"

namespace ounce::tasks {
namespace {

constexpr int64_t kColors = 3;
/// Sides to try where the network leaves them free: not equal, so that height and width are told
/// apart.
constexpr int64_t kTriedHeight = 48;
constexpr int64_t kTriedWidth = 64;

/// Whether a value may be [.., 3, .., ..] by what is known of its shape.
bool may_be_picture(const Value& value) {
  return value.dtype == DType::f32 && value.shape && value.shape->size() == 4 &&
         (!(*value.shape)[1].known() || (*value.shape)[1].value == kColors);
}

/// The graph's first output for pictures of one size; nullopt where it cannot be told.
std::optional<Shape> output_shape(Graph graph, const Shape& input) {
  InferOptions options;
  options.evaluator = &engine::reference::evaluator();
  try {
    specialize_inputs(graph, std::span(&input, 1), options);
  } catch (const Error&) {
    return std::nullopt;  // no network for pictures of this size
  }
  const auto& shape = graph.value(graph.outputs.front()).shape;
  return shape ? concrete(*shape) : std::nullopt;
}

}  // namespace

std::optional<int64_t> enlargement(const Graph& graph) {
  if (graph.inputs.size() != 1 || graph.outputs.empty()) return std::nullopt;
  const Value& pixels = graph.value(graph.inputs.front());
  if (!may_be_picture(pixels) || !may_be_picture(graph.value(graph.outputs.front()))) {
    return std::nullopt;
  }
  const auto side = [&](size_t axis, int64_t tried) {
    const Dim& dim = (*pixels.shape)[axis];
    return dim.known() ? dim.value : tried;
  };
  const Shape input = {1, kColors, side(2, kTriedHeight), side(3, kTriedWidth)};
  const std::optional<Shape> output = output_shape(graph, input);
  if (!output || output->size() != 4 || (*output)[1] != kColors || input[2] < 1)
    return std::nullopt;
  const int64_t scale = (*output)[2] / input[2];
  const bool enlarges =
      scale > 1 && (*output)[2] == scale * input[2] && (*output)[3] == scale * input[3];
  return enlarges ? std::optional(scale) : std::nullopt;
}

}  // namespace ounce::tasks
