#include "quantize/analysis/input_check.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace ounce::quantize {
namespace {

/// A deviation below a hundredth of the magnitude is less than the sensor noise of a dark picture:
/// one level of 255 is a hundredth of black once mean and deviation of photos are taken off
/// (-0.485 / 0.229 = -2.1, one level 0.017).
constexpr double kNothing = 0.01;
/// Pictures of one scene differ by their noise only; photos of different things differ by about as
/// much as each varies by itself.
constexpr double kAlike = 0.02;

/// Mean and deviation of a stream of numbers (Welford).
struct Moments {
  int64_t count = 0;
  double mean = 0.0;
  double squares = 0.0;

  void add(double x) {
    ++count;
    const double difference = x - mean;
    mean += difference / static_cast<double>(count);
    squares += difference * (x - mean);
  }
  double deviation() const {
    return count > 0 ? std::sqrt(std::max(0.0, squares / static_cast<double>(count))) : 0.0;
  }
};

/// The mean deviation over the pixels of a channel.
double deviation_within(const Tensor& tensor) {
  const auto x = tensor.data<float>();
  const size_t planes =
      tensor.rank() == 4 ? static_cast<size_t>(tensor.shape()[0] * tensor.shape()[1]) : 1;
  const size_t pixels = planes == 0 ? 0 : x.size() / planes;
  double sum = 0.0;
  for (size_t plane = 0; plane < planes; ++plane) {
    Moments moments;
    for (size_t i = 0; i < pixels; ++i) moments.add(x[plane * pixels + i]);
    sum += moments.deviation();
  }
  return planes > 0 ? sum / static_cast<double>(planes) : 0.0;
}

}  // namespace

InputVariety input_variety(InputSource& source, int64_t most) {
  InputVariety variety;
  std::vector<Moments> elements;
  double square = 0.0;
  int64_t numbers = 0;
  source.restart();
  while (variety.inputs < most) {
    const auto run = source.next();
    if (!run) break;
    const auto found = std::find_if(run->begin(), run->end(), [](const Tensor& tensor) {
      return tensor.dtype() == DType::f32 && tensor.size() > 1;
    });
    if (found == run->end()) break;
    const auto x = found->data<float>();
    ++variety.inputs;
    variety.within += deviation_within(*found);
    if (elements.empty()) elements.resize(x.size());
    for (const float value : x) square += static_cast<double>(value) * value;
    numbers += found->size();
    if (elements.size() != x.size()) continue;
    ++variety.compared;
    for (size_t i = 0; i < x.size(); ++i) elements[i].add(x[i]);
  }
  if (variety.inputs == 0) return variety;
  variety.within /= static_cast<double>(variety.inputs);
  variety.magnitude = std::sqrt(square / static_cast<double>(std::max<int64_t>(numbers, 1)));
  for (const Moments& element : elements) variety.between += element.deviation();
  variety.between /= static_cast<double>(elements.size());
  return variety;
}

std::vector<std::string> doubts_about(const InputVariety& variety) {
  std::vector<std::string> doubts;
  if (variety.inputs == 0) return doubts;
  char text[256];
  if (variety.within <= kNothing * variety.magnitude) {
    std::snprintf(
        text, sizeof text,
        "the calibration inputs have no content: their elements deviate by %.3g from their "
        "mean (magnitude %.3g, %lld inputs), as in pictures that are all black; ranges will "
        "not fit real data",
        variety.within, variety.magnitude, static_cast<long long>(variety.inputs));
    doubts.emplace_back(text);
  } else if (variety.compared > 1 && variety.between <= kAlike * variety.within) {
    std::snprintf(
        text, sizeof text,
        "the calibration inputs are all alike: from one to the next they deviate by %.3g, "
        "within one by %.3g (%lld inputs); ranges will fit that input only",
        variety.between, variety.within, static_cast<long long>(variety.compared));
    doubts.emplace_back(text);
  }
  return doubts;
}

}  // namespace ounce::quantize
