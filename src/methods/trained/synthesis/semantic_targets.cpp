#include "methods/trained/synthesis/semantic_targets.h"

#include <algorithm>
#include <cmath>

namespace ounce::methods {
namespace {

bool overlap(const PictureRegion& a, const PictureRegion& b) {
  return a.top < b.top + b.height && b.top < a.top + a.height && a.left < b.left + b.width &&
         b.left < a.left + a.width;
}

}  // namespace

std::vector<PictureRegion> random_regions(int64_t height, int64_t width, int64_t classes,
                                          std::mt19937_64& random) {
  constexpr int kMostRegions = 4;
  constexpr int kTries = 50;
  std::uniform_real_distribution<double> part(0.3, 0.5);
  std::uniform_int_distribution<int64_t> label(0, classes - 1);
  const int count = std::uniform_int_distribution<int>(1, kMostRegions)(random);
  std::vector<PictureRegion> regions;
  for (int tries = 0; tries < kTries && static_cast<int>(regions.size()) < count; ++tries) {
    PictureRegion region;
    region.height = std::max<int64_t>(1, std::llround(part(random) * static_cast<double>(height)));
    region.width = std::max<int64_t>(1, std::llround(part(random) * static_cast<double>(width)));
    region.top = std::uniform_int_distribution<int64_t>(0, height - region.height)(random);
    region.left = std::uniform_int_distribution<int64_t>(0, width - region.width)(random);
    region.label = label(random);
    const bool free = std::none_of(regions.begin(), regions.end(), [&](const PictureRegion& other) {
      return overlap(region, other);
    });
    if (free) regions.push_back(region);
  }
  return regions;
}

LogitInterval relevant_logits(int64_t classes) {
  constexpr int64_t kManyClasses = 500;
  if (classes >= kManyClasses) return {};
  // The others add up to (classes - 1) E[e^N(0,1)].
  const double others = static_cast<double>(std::max<int64_t>(1, classes - 1)) * std::exp(0.5);
  const auto logit_of = [&](double share) { return std::log(share / (1.0 - share) * others); };
  return {logit_of(0.3), logit_of(0.95)};
}

at::Tensor soft_target(int64_t classes, const std::vector<int64_t>& labels,
                       std::mt19937_64& random) {
  std::normal_distribution<float> other(0.0F, 1.0F);
  const LogitInterval interval = relevant_logits(classes);
  std::uniform_real_distribution<double> relevant(interval.low, interval.high);
  std::vector<float> logits(static_cast<size_t>(classes));
  for (float& logit : logits) logit = other(random);
  for (const int64_t label : labels) {
    logits[static_cast<size_t>(label)] = static_cast<float>(relevant(random));
  }
  return at::softmax(at::tensor(logits), 0);
}

at::Tensor one_hot_target(int64_t classes, int64_t label) {
  at::Tensor target = at::zeros({classes});
  target[label] = 1.0;
  return target;
}

at::Tensor enlarged(const at::Tensor& picture, const PictureRegion& region) {
  const at::Tensor cut =
      picture.narrow(1, region.top, region.height).narrow(2, region.left, region.width);
  return at::upsample_bilinear2d(cut.unsqueeze(0), {picture.size(1), picture.size(2)}, false)
      .squeeze(0);
}

}  // namespace ounce::methods
