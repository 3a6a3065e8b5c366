#include "methods/trained/synthesis/picture_losses.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "train/tensor.h"

namespace ounce::methods {

at::Tensor total_variation(const at::Tensor& pictures) {
  const int64_t height = pictures.size(2);
  const int64_t width = pictures.size(3);
  const auto part = [&](int64_t top, int64_t left) {
    return pictures.narrow(2, top, height - 1).narrow(3, left, width - 1);
  };
  const at::Tensor right = pictures.narrow(3, 1, width - 1) - pictures.narrow(3, 0, width - 1);
  const at::Tensor below = pictures.narrow(2, 1, height - 1) - pictures.narrow(2, 0, height - 1);
  return at::norm(right) + at::norm(below) + at::norm(part(1, 1) - part(0, 0)) +
         at::norm(part(1, 0) - part(0, 1));
}

double wanted_variation(const at::Tensor& pictures, std::mt19937_64& random) {
  constexpr double kPixels = 32.0 * 3 * 224 * 224;
  const double wanted = std::uniform_real_distribution<double>(2500.0, 3000.0)(random);
  return wanted * std::sqrt(static_cast<double>(pictures.numel()) / kPixels);
}

at::Tensor patch_similarity_entropy(const at::Tensor& patches, std::mt19937_64& random) {
  constexpr int64_t kPoints = 64;  // of the density, over [-1, 1]
  constexpr double kBandwidth = 0.05;
  const int64_t count = patches.size(1);
  const at::Tensor directions = patches / at::clamp_min(at::norm(patches, 2, {-1}, true), 1e-12);
  const int64_t pairs = std::min(kSimilarities, count * count);
  std::uniform_int_distribution<int64_t> pick(0, count - 1);
  std::vector<int64_t> first, second;
  for (int64_t i = 0; i < pairs; ++i) {
    first.push_back(pick(random));
    second.push_back(pick(random));
  }
  const at::Tensor similarity = (directions.index_select(1, at::tensor(first)) *
                                 directions.index_select(1, at::tensor(second)))
                                    .sum(-1);  // [pictures, pairs]
  const at::Tensor points = at::linspace(-1.0, 1.0, kPoints);
  const at::Tensor distances = (similarity.unsqueeze(-1) - points) / kBandwidth;
  const double height = 1.0 / (kBandwidth * std::sqrt(2.0 * std::numbers::pi));
  const at::Tensor density = at::exp(-0.5 * at::square(distances)).mean(1) * height;
  const double step = 2.0 / static_cast<double>(kPoints - 1);
  return -(density * at::log(density + 1e-12)).sum(-1).mean() * step;
}

std::vector<NormStatistics> norm_statistics(const Graph& graph) {
  std::vector<NormStatistics> found;
  for (const Node& node : graph.nodes) {
    if (node.op != "BatchNormalization") continue;
    const Tensor* mean = graph.constant(node.input(3));
    const Tensor* variance = graph.constant(node.input(4));
    if (mean == nullptr || variance == nullptr) continue;
    found.push_back(
        {graph.value(node.input(0)).name, train::to_torch(*mean), train::to_torch(*variance)});
  }
  return found;
}

at::Tensor statistics_mismatch(const std::map<std::string, at::Tensor>& values,
                               const std::vector<NormStatistics>& statistics) {
  at::Tensor sum;
  for (const NormStatistics& norm : statistics) {
    const at::Tensor channels = values.at(norm.input).transpose(0, 1).flatten(1);
    const at::Tensor mean = channels.mean(1);
    const at::Tensor deviation = at::sqrt(at::var(channels, {1}, false) + 1e-6);
    const at::Tensor loss = at::square(mean - norm.mean).sum() +
                            at::square(deviation - at::sqrt(norm.variance + 1e-6)).sum();
    sum = sum.defined() ? sum + loss : loss;
  }
  return sum;
}

}  // namespace ounce::methods
