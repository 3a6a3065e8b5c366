#include "tasks/super_resolution/fidelity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "graph/error.h"

namespace ounce::tasks {
namespace {

constexpr double kPeak = 255.0;
constexpr int64_t kWindow = 11;

/// One number a pixel: [height, width].
struct Plane {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<double> values;
  double at(int64_t x, int64_t y) const { return values[static_cast<size_t>(y * width + x)]; }
};

std::string size_text(const Image& image) {
  return std::to_string(image.width) + " x " + std::to_string(image.height);
}

/// BT.601 luma in 16..235, rounded as published figures have it, without the outer `border` pixels.
Plane luma(const Image& image, int64_t border) {
  Plane plane{image.width - 2 * border, image.height - 2 * border, {}};
  for (int64_t y = border; y < image.height - border; ++y) {
    for (int64_t x = border; x < image.width - border; ++x) {
      const uint8_t* pixel = image.at(x, y);
      const double sum = 65.481 * pixel[0] + 128.553 * pixel[1] + 24.966 * pixel[2];
      plane.values.push_back(std::floor(16.0 + sum / kPeak + 0.5));
    }
  }
  return plane;
}

/// `least`: how many pixels a side must have without the border.
void check_sizes(const Image& picture, const Image& original, int64_t border, int64_t least) {
  if (picture.width != original.width || picture.height != original.height) {
    throw Error("is " + size_text(picture) + ", its original " + size_text(original), "picture",
                "pictures of equal size");
  }
  if (std::min(picture.width, picture.height) - 2 * border < least) {
    throw Error(size_text(picture) + " is too small: " + std::to_string(border) +
                    " pixels of each border do not count, and " + std::to_string(least) +
                    " must remain",
                "picture", "larger pictures");
  }
}

std::array<double, kWindow> gaussian() {
  constexpr double kDeviation = 1.5;
  std::array<double, kWindow> weights{};
  for (int64_t i = 0; i < kWindow; ++i) {
    constexpr int64_t kCentre = kWindow / 2;
    const double x = static_cast<double>(i - kCentre) / kDeviation;
    weights[static_cast<size_t>(i)] = std::exp(-0.5 * x * x);
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

/// Weighted means of a * b over all windows that lie within the planes.
Plane window_means(const Plane& a, const Plane& b) {
  const std::array<double, kWindow> weights = gaussian();
  Plane rows{a.width - kWindow + 1, a.height, {}};
  for (int64_t y = 0; y < rows.height; ++y) {
    for (int64_t x = 0; x < rows.width; ++x) {
      double sum = 0;
      for (int64_t i = 0; i < kWindow; ++i) {
        sum += weights[static_cast<size_t>(i)] * a.at(x + i, y) * b.at(x + i, y);
      }
      rows.values.push_back(sum);
    }
  }
  Plane means{rows.width, a.height - kWindow + 1, {}};
  for (int64_t y = 0; y < means.height; ++y) {
    for (int64_t x = 0; x < means.width; ++x) {
      double sum = 0;
      for (int64_t i = 0; i < kWindow; ++i)
        sum += weights[static_cast<size_t>(i)] * rows.at(x, y + i);
      means.values.push_back(sum);
    }
  }
  return means;
}

}  // namespace

double luma_psnr(const Image& picture, const Image& original, int64_t border) {
  check_sizes(picture, original, border, 1);
  const Plane a = luma(picture, border);
  const Plane b = luma(original, border);
  double squares = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    squares += (a.values[i] - b.values[i]) * (a.values[i] - b.values[i]);
  }
  if (squares == 0) return kIdenticalDb;
  const double mean = squares / static_cast<double>(a.values.size());
  return std::min(10.0 * std::log10(kPeak * kPeak / mean), kIdenticalDb);
}

double luma_ssim(const Image& picture, const Image& original, int64_t border) {
  check_sizes(picture, original, border, kWindow);
  // The constants that keep the quotient stable where a window is flat.
  constexpr double kMeans = (0.01 * kPeak) * (0.01 * kPeak);
  constexpr double kVariances = (0.03 * kPeak) * (0.03 * kPeak);
  const Plane a = luma(picture, border);
  const Plane b = luma(original, border);
  const Plane ones{a.width, a.height, std::vector<double>(a.values.size(), 1.0)};
  const Plane mean_a = window_means(a, ones);
  const Plane mean_b = window_means(b, ones);
  const Plane squares_a = window_means(a, a);
  const Plane squares_b = window_means(b, b);
  const Plane products = window_means(a, b);
  double sum = 0;
  for (size_t i = 0; i < products.values.size(); ++i) {
    const double ma = mean_a.values[i];
    const double mb = mean_b.values[i];
    const double variances = squares_a.values[i] - ma * ma + squares_b.values[i] - mb * mb;
    const double covariance = products.values[i] - ma * mb;
    sum += (2 * ma * mb + kMeans) * (2 * covariance + kVariances) /
           ((ma * ma + mb * mb + kMeans) * (variances + kVariances));
  }
  return sum / static_cast<double>(products.values.size());
}

}  // namespace ounce::tasks
