#include "quantize/analysis/divergence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace ounce::quantize {
namespace {

/// log(softmax(row)), in double.
std::vector<double> log_softmax(std::span<const float> row) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0.0;
  for (const float x : row) sum += std::exp(static_cast<double>(x) - top);
  std::vector<double> result;
  result.reserve(row.size());
  for (const float x : row) result.push_back(static_cast<double>(x) - top - std::log(sum));
  return result;
}

double row_divergence(std::span<const float> exact, std::span<const float> row) {
  const std::vector<double> p = log_softmax(exact);
  const std::vector<double> q = log_softmax(row);
  double sum = 0.0;
  for (size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return std::isnan(sum) ? std::numeric_limits<double>::infinity() : std::max(sum, 0.0);
}

/// |a - b|^2 / |a|^2
double relative_energy(const Tensor& exact, const Tensor& other) {
  const auto a = exact.data<float>();
  const auto b = other.data<float>();
  double signal = 0.0;
  double noise = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    signal += static_cast<double>(a[i]) * a[i];
    noise += difference * difference;
  }
  if (std::isnan(noise)) return std::numeric_limits<double>::infinity();
  return noise <= 0.0 ? 0.0 : noise / std::max(signal, std::numeric_limits<double>::min());
}

/// Mean of `figure(exact row, row)` over the rows of a classifier's scores.
template <class Figure>
double mean_over_rows(const Tensor& exact, const Tensor& other, Figure figure) {
  const auto rows = static_cast<size_t>(exact.shape()[0]);
  const auto classes = static_cast<size_t>(exact.shape()[1]);
  double sum = 0.0;
  for (size_t i = 0; i < rows; ++i) {
    sum += figure(exact.data<float>().subspan(i * classes, classes),
                  other.data<float>().subspan(i * classes, classes));
  }
  return sum / static_cast<double>(rows);
}

/// Mean of `figure(exact, other)` over the outputs of f32 that have elements; `nothing` where there
/// are none.
template <class Figure>
double mean_over_outputs(std::span<const Tensor> exact, std::span<const Tensor> outputs,
                         double nothing, Figure figure) {
  double sum = 0.0;
  int count = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    if (exact[i].dtype() != DType::f32 || exact[i].size() == 0) continue;
    // Outputs whose shape goes by the data, such as boxes that survive, cannot be set side by side.
    if (exact[i].shape() != outputs[i].shape()) {
      sum += figure(exact[i], Tensor(DType::f32, exact[i].shape()));
    } else {
      sum += figure(exact[i], outputs[i]);
    }
    ++count;
  }
  return count == 0 ? nothing : sum / count;
}

size_t best_of(std::span<const float> row) {
  return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

}  // namespace

bool are_class_scores(std::span<const Tensor> outputs) {
  return outputs.size() == 1 && outputs[0].dtype() == DType::f32 && outputs[0].rank() == 2 &&
         outputs[0].shape()[0] > 0 && outputs[0].shape()[1] > 1;
}

double divergence(std::span<const Tensor> exact, std::span<const Tensor> outputs) {
  if (are_class_scores(exact)) return mean_over_rows(exact[0], outputs[0], row_divergence);
  return mean_over_outputs(exact, outputs, 0.0, relative_energy);
}

double agreement(std::span<const Tensor> exact, std::span<const Tensor> outputs) {
  if (are_class_scores(exact)) {
    return mean_over_rows(exact[0], outputs[0],
                          [](auto a, auto b) { return best_of(a) == best_of(b) ? 1.0 : 0.0; });
  }
  return mean_over_outputs(exact, outputs, 1.0, [](const Tensor& a, const Tensor& b) {
    return std::max(0.0, 1.0 - std::sqrt(relative_energy(a, b)));
  });
}

}  // namespace ounce::quantize
