#include "tasks/super_resolution/bicubic.h"

#include <algorithm>
#include <cmath>

#include "graph/error.h"
#include "tasks/resample.h"

namespace ounce::tasks {
namespace {

constexpr int64_t kChannels = 3;
constexpr double kRadius = 2.0;  // of the kernel

/// One output coordinate: source positions, each in the picture, and their weights, which sum to 1.
struct Tap {
  int64_t position = 0;
  double weight = 0;
};
using Taps = std::vector<Tap>;

/// The position within 0..size-1 that a mirrored edge shows at `position`: -1 is 0, `size` is size
/// - 1.
int64_t mirrored(int64_t position, int64_t size) {
  const int64_t period = 2 * size;
  position = ((position % period) + period) % period;
  return position < size ? position : period - 1 - position;
}

std::vector<Taps> mirrored_taps(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);
  std::vector<Taps> all;
  for (int64_t i = 0; i < out; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale - 0.5;
    const auto first = static_cast<int64_t>(std::ceil(center - kRadius * stretch));
    const auto last = static_cast<int64_t>(std::floor(center + kRadius * stretch));
    Taps taps;
    double sum = 0;
    for (int64_t position = first; position <= last; ++position) {
      const double weight = cubic_kernel((static_cast<double>(position) - center) / stretch);
      taps.push_back({mirrored(position, in), weight});
      sum += weight;
    }
    for (Tap& tap : taps) tap.weight /= sum;
    all.push_back(std::move(taps));
  }
  return all;
}

}  // namespace

Image resize_bicubic(const Image& image, int64_t width, int64_t height) {
  if (image.width < 1 || image.height < 1) throw Error("cannot resize an empty picture", "resize");
  Image result(width, height);
  const std::vector<Taps> across = mirrored_taps(image.width, width);
  const std::vector<Taps> down = mirrored_taps(image.height, height);
  // Rows first: [image.height, width, 3], not rounded.
  std::vector<double> rows(static_cast<size_t>(image.height * width * kChannels));
  double* target = rows.data();
  for (int64_t y = 0; y < image.height; ++y) {
    for (const Taps& taps : across) {
      for (int64_t c = 0; c < kChannels; ++c) {
        double sum = 0;
        for (const Tap& tap : taps) sum += tap.weight * image.at(tap.position, y)[c];
        *target++ = sum;
      }
    }
  }
  const int64_t stride = width * kChannels;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t i = 0; i < stride; ++i) {
      double sum = 0;
      for (const Tap& tap : down[static_cast<size_t>(y)]) {
        sum += tap.weight * rows[static_cast<size_t>(tap.position * stride + i)];
      }
      result.pixels[static_cast<size_t>(y * stride + i)] =
          static_cast<uint8_t>(std::clamp(std::floor(sum + 0.5), 0.0, 255.0));
    }
  }
  return result;
}

}  // namespace ounce::tasks
