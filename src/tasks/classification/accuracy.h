#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graph/tensor.h"

namespace ounce::tasks {

/// A class and its score: a probability, or a logit where stated.
struct RankedClass {
  int64_t class_index = 0;
  double score = 0;
};

/// The best `count` of a network's scores ([classes] or [1, classes, 1, ...]), best first; equal
/// scores in class order. Throws `Error` for another shape or NaN.
std::vector<RankedClass> top_classes(const Tensor& scores, int64_t count);

/// As `top_classes`, with scores as probabilities: softmax is applied unless they already are
/// probabilities (non-negative, sum 1).
std::vector<RankedClass> top_probabilities(const Tensor& scores, int64_t count);

/// Counts how often the right class is the first and among the first five.
class Accuracy {
 public:
  /// `ranked` best first, at least five where there are five classes.
  void add(int64_t right_class, std::span<const RankedClass> ranked);
  /// "top1", "top5"; 0..1. Empty before the first picture.
  std::map<std::string, double> metrics() const;
  int64_t pictures() const { return pictures_; }

 private:
  int64_t pictures_ = 0;
  int64_t first_ = 0;
  int64_t first_five_ = 0;
};

}  // namespace ounce::tasks
