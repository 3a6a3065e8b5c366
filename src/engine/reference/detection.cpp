#include <algorithm>
#include <limits>

#include "engine/reference/common.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

struct Box {
  float y1, x1, y2, x2;

  float area() const { return (y2 - y1) * (x2 - x1); }
};

/// Corners may come in any order; or centre, width and height.
Box read_box(const float* b, bool center_point) {
  if (center_point) {
    return {b[1] - b[3] / 2.0F, b[0] - b[2] / 2.0F, b[1] + b[3] / 2.0F, b[0] + b[2] / 2.0F};
  }
  return {std::min(b[0], b[2]), std::min(b[1], b[3]), std::max(b[0], b[2]), std::max(b[1], b[3])};
}

float intersection_over_union(const Box& a, const Box& b) {
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  if (height <= 0.0F || width <= 0.0F) return 0.0F;
  const float common = height * width;
  const float both = a.area() + b.area() - common;
  return both > 0.0F ? common / both : 0.0F;
}

struct SuppressionLimits {
  int64_t boxes = 0;  // most boxes a class
  float iou = 0.0F;
  float score = -std::numeric_limits<float>::infinity();
};

/// Indices of the boxes kept for one class, best score first, ties by index.
std::vector<int64_t> suppress(const std::vector<Box>& boxes, const float* scores,
                              const SuppressionLimits& limits) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < boxes.size(); ++i) {
    if (scores[i] > limits.score) order.push_back(static_cast<int64_t>(i));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  std::vector<int64_t> kept;
  for (const int64_t candidate : order) {
    if (static_cast<int64_t>(kept.size()) >= limits.boxes) break;
    const Box& box = boxes[static_cast<size_t>(candidate)];
    const bool overlaps = std::any_of(kept.begin(), kept.end(), [&](int64_t other) {
      return intersection_over_union(box, boxes[static_cast<size_t>(other)]) > limits.iou;
    });
    if (!overlaps) kept.push_back(candidate);
  }
  return kept;
}

/// boxes [batch, boxes, 4], scores [batch, classes, boxes] -> [selected, 3]: batch, class, box.
void non_max_suppression(OperatorContext& context) {
  const Tensor& boxes = input(context, 0);
  const Tensor& scores = input(context, 1);
  require(boxes.rank() == 3 && scores.rank() == 3 && boxes.shape()[2] == 4,
          "boxes [batch, boxes, 4] and scores [batch, classes, boxes] wanted");
  require(boxes.shape()[0] == scores.shape()[0] && boxes.shape()[1] == scores.shape()[2],
          "boxes and scores differ in batch or number");
  SuppressionLimits limits;
  limits.boxes = integer(context, 2, 0);
  limits.iou = number(context, 3, 0.0F);
  if (context.has_input(4)) limits.score = number(context, 4, 0.0F);
  const bool center_point = context.attributes().get_int("center_point_box", 0) != 0;
  const int64_t count = boxes.shape()[1];
  const std::vector<float> corners = boxes.to_f32();
  const std::vector<float> values = scores.to_f32();
  std::vector<int64_t> selected;
  for (int64_t n = 0; n < boxes.shape()[0]; ++n) {
    std::vector<Box> batch;
    for (int64_t i = 0; i < count; ++i) {
      batch.push_back(read_box(corners.data() + (n * count + i) * 4, center_point));
    }
    for (int64_t c = 0; c < scores.shape()[1]; ++c) {
      const float* of_class = values.data() + (n * scores.shape()[1] + c) * count;
      for (const int64_t box : suppress(batch, of_class, limits)) {
        selected.insert(selected.end(), {n, c, box});
      }
    }
  }
  const auto rows = static_cast<int64_t>(selected.size() / 3);
  store(context, 0, Tensor::of(selected, {rows, 3}));
}

constexpr OperatorEntry kEntries[] = {{"NonMaxSuppression", non_max_suppression}};

}  // namespace

std::span<const OperatorEntry> detection_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
