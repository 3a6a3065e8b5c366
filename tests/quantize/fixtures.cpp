#include "tests/quantize/fixtures.h"

#include <cmath>

namespace ounce::quantize::testing {

std::vector<float> gaussian_quantiles(int count) {
  std::vector<float> values;
  values.reserve(static_cast<size_t>(count));
  double low = -8.0;
  for (int i = 0; i < count; ++i) {
    const double p = (i + 0.5) / count;
    double high = 8.0;
    double from = low;
    for (int step = 0; step < 60; ++step) {
      const double middle = 0.5 * (from + high);
      (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? from : high) = middle;
    }
    low = from;
    values.push_back(static_cast<float>(from));
  }
  return values;
}

float silu(float x) {
  return x / (1.0F + std::exp(-x));
}

std::vector<float> silu_of_gaussian(int count) {
  std::vector<float> values = gaussian_quantiles(count);
  for (float& value : values) value = silu(value);
  return values;
}

ObservedData observe(std::span<const float> values) {
  Extent extent;
  extent.add(values, "test");
  ObservedData data;
  data.histogram = Histogram(extent.range());
  data.histogram.add(values);
  return data;
}

double histogram_mse(const ObservedData& data, const QuantParams& params) {
  const BinPoints points(data);
  return points.squared_error(levels_of(params)) / points.total();
}

double value_mse(std::span<const float> values, const QuantParams& params) {
  double sum = 0.0;
  for (const float value : values) {
    const double error = static_cast<double>(params.fake_quantize(value)) - value;
    sum += error * error;
  }
  return sum / static_cast<double>(values.size());
}

}  // namespace ounce::quantize::testing
