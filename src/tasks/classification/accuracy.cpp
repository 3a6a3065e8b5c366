#include "tasks/classification/accuracy.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "graph/error.h"

namespace ounce::tasks {
namespace {

/// The scores of the one picture in the batch.
std::vector<float> class_scores(const Tensor& scores) {
  const Shape& shape = scores.shape();
  const auto wide = std::count_if(shape.begin(), shape.end(), [](int64_t d) { return d != 1; });
  if (scores.size() < 1 || wide > 1 || (wide == 1 && shape.size() > 1 && shape[0] != 1)) {
    throw Error("expected scores of shape [1, classes], got " +
                    ounce::to_string(std::span<const int64_t>(shape)),
                "classification", "a classifier, or --task detection with a head description");
  }
  std::vector<float> values = scores.to_f32();
  for (const float value : values) {
    if (!std::isfinite(value)) {
      throw Error("the classifier's output holds NaN or infinity", "classification");
    }
  }
  return values;
}

std::vector<RankedClass> rank(std::span<const float> values, int64_t count) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto kept =
      static_cast<size_t>(std::clamp<int64_t>(count, 0, static_cast<int64_t>(values.size())));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                    [&](int64_t a, int64_t b) {
                      const float x = values[static_cast<size_t>(a)];
                      const float y = values[static_cast<size_t>(b)];
                      return x > y || (x == y && a < b);
                    });
  std::vector<RankedClass> ranked;
  for (size_t i = 0; i < kept; ++i) {
    ranked.push_back({order[i], static_cast<double>(values[static_cast<size_t>(order[i])])});
  }
  return ranked;
}

}  // namespace

std::vector<RankedClass> top_classes(const Tensor& scores, int64_t count) {
  return rank(class_scores(scores), count);
}

std::vector<RankedClass> top_probabilities(const Tensor& scores, int64_t count) {
  const std::vector<float> values = class_scores(scores);
  std::vector<RankedClass> ranked = rank(values, count);
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  const bool negative = std::any_of(values.begin(), values.end(), [](float v) { return v < 0; });
  if (!negative && std::abs(sum - 1) < 1e-2) return ranked;
  const double highest = *std::max_element(values.begin(), values.end());
  double total = 0;
  for (const float value : values) total += std::exp(static_cast<double>(value) - highest);
  for (RankedClass& entry : ranked) entry.score = std::exp(entry.score - highest) / total;
  return ranked;
}

void Accuracy::add(int64_t right_class, std::span<const RankedClass> ranked) {
  ++pictures_;
  const size_t looked_at = std::min<size_t>(5, ranked.size());
  for (size_t place = 0; place < looked_at; ++place) {
    if (ranked[place].class_index != right_class) continue;
    first_ += place == 0 ? 1 : 0;
    ++first_five_;
    return;
  }
}

std::map<std::string, double> Accuracy::metrics() const {
  if (pictures_ == 0) return {};
  const auto count = static_cast<double>(pictures_);
  return {{"top1", static_cast<double>(first_) / count},
          {"top5", static_cast<double>(first_five_) / count}};
}

}  // namespace ounce::tasks
