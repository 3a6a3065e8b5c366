// Separable resampling on 8-bit pictures: a horizontal pass, rounded to 8 bits, then a vertical
// one, with coefficients in fixed point. Accuracy of published networks was measured with this very
// arithmetic, and a picture library's "bicubic" without antialias moves top-1 by points.
#include "tasks/resample.h"

#include <cmath>
#include <functional>

#include "graph/error.h"
#include "tasks/image.h"

namespace ounce::tasks {
namespace {

// 8 bits of pixel and 2 bits of head room (bicubic overshoots) leave 22 of 32 for the fraction.
constexpr int kFractionBits = 22;

/// The taps of one output coordinate: source positions first .. first + weights.size() - 1.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

double triangle(double x) {
  x = std::abs(x);
  return x < 1 ? 1 - x : 0;
}

Taps fixed_point(int64_t first, const std::vector<double>& weights) {
  double sum = 0;
  for (const double weight : weights) sum += weight;
  Taps taps{first, {}};
  taps.weights.reserve(weights.size());
  for (const double weight : weights) {
    const double scaled = (sum != 0 ? weight / sum : 0) * (1 << kFractionBits);
    taps.weights.push_back(static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
  }
  return taps;
}

/// Taps of a filter centred on each output pixel; those outside the picture are left out and the
/// rest rescaled to sum to one.
std::vector<Taps> filter_taps(int64_t in, int64_t out, double (*filter)(double), double radius,
                              Antialias antialias) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = antialias == Antialias::on ? std::max(scale, 1.0) : 1.0;
  const double support = radius * stretch;
  std::vector<Taps> all;
  std::vector<double> weights;
  for (int64_t i = 0; i < out; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const auto last = std::min(in, static_cast<int64_t>(center + support + 0.5));
    weights.clear();
    for (int64_t x = first; x < last; ++x) {
      weights.push_back(filter((static_cast<double>(x) - center + 0.5) / stretch));
    }
    all.push_back(fixed_point(first, weights));
  }
  return all;
}

std::vector<Taps> nearest_taps(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  std::vector<Taps> all;
  for (int64_t i = 0; i < out; ++i) {
    const auto x = static_cast<int64_t>((static_cast<double>(i) + 0.5) * scale);
    all.push_back(fixed_point(std::min(x, in - 1), {1.0}));
  }
  return all;
}

/// Each source pixel weighs the length of it that the output pixel covers.
std::vector<Taps> area_taps(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  std::vector<Taps> all;
  for (int64_t i = 0; i < out; ++i) {
    const double from = static_cast<double>(i) * scale;
    const double to = from + scale;
    const auto first = std::min(in - 1, static_cast<int64_t>(from));
    const auto last = std::min(in, static_cast<int64_t>(std::ceil(to - 1e-9)));
    std::vector<double> weights;
    for (int64_t x = first; x < std::max(last, first + 1); ++x) {
      weights.push_back(std::min(to, static_cast<double>(x + 1)) -
                        std::max(from, static_cast<double>(x)));
    }
    all.push_back(fixed_point(first, weights));
  }
  return all;
}

std::vector<Taps> make_taps(int64_t in, int64_t out, Interpolation interpolation,
                            Antialias antialias) {
  switch (interpolation) {
    case Interpolation::nearest:
      return nearest_taps(in, out);
    case Interpolation::bilinear:
      return filter_taps(in, out, triangle, 1.0, antialias);
    case Interpolation::bicubic:
      return filter_taps(in, out, cubic_kernel, 2.0, antialias);
    case Interpolation::area:
      return area_taps(in, out);
  }
  throw Error("unknown interpolation", "resize");
}

/// Weighted sum of pixels that lie `stride` bytes apart, for each of `count` adjacent bytes.
void blend(const uint8_t* source, int64_t stride, const Taps& taps, int64_t count,
           uint8_t* target) {
  for (int64_t i = 0; i < count; ++i) {
    int32_t sum = 1 << (kFractionBits - 1);
    const uint8_t* pixel = source + i;
    for (const int32_t weight : taps.weights) {
      sum += weight * *pixel;
      pixel += stride;
    }
    target[i] = static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
  }
}

}  // namespace

double cubic_kernel(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

Image resize(const Image& image, int64_t width, int64_t height, Interpolation interpolation,
             Antialias antialias) {
  if (image.width < 1 || image.height < 1) throw Error("cannot resize an empty picture", "resize");
  const Image* source = &image;
  Image across;
  if (width != image.width) {
    across = Image(width, image.height);
    const std::vector<Taps> taps = make_taps(image.width, width, interpolation, antialias);
    for (int64_t y = 0; y < image.height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const Taps& tap = taps[static_cast<size_t>(x)];
        blend(image.at(tap.first, y), 3, tap, 3, across.at(x, y));
      }
    }
    source = &across;
  }
  if (height == image.height) return *source;
  Image result(width, height);
  const std::vector<Taps> taps = make_taps(image.height, height, interpolation, antialias);
  for (int64_t y = 0; y < height; ++y) {
    const Taps& tap = taps[static_cast<size_t>(y)];
    blend(source->at(0, tap.first), width * 3, tap, width * 3, result.at(0, y));
  }
  return result;
}

}  // namespace ounce::tasks
