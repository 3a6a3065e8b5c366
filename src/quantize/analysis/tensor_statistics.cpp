#include "quantize/analysis/tensor_statistics.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "quantize/options.h"
#include "quantize/tapped_run.h"

namespace ounce::quantize {
namespace {

/// The nearest power base^-k, k = 0 .. 2^bits - 1; with `zero_below` 0 beyond the highest k
/// (LogQuantize).
double nearest_power(double x, double steps_per_octave, bool zero_below) {
  constexpr double kHighest = (1 << kMostLogBits) - 1;
  if (x <= 0.0) return zero_below ? 0.0 : std::exp2(-kHighest / steps_per_octave);
  const double code = std::nearbyint(-std::log2(x) * steps_per_octave);
  if (zero_below && code > kHighest) return 0.0;
  return std::exp2(-std::clamp(code, 0.0, kHighest) / steps_per_octave);
}

double square(double x) {
  return x * x;
}

/// Both readings of one value.
class Gatherer {
 public:
  explicit Gatherer(const QuantizedValue& value) : wanted_(value) {
    result_.value = value.name;
    result_.grid = value.grid;
  }

  void see_extents(const Tensor& tensor) {
    const ChannelLayout layout(tensor.shape());
    const auto x = tensor.data<float>();
    all_.add(x, wanted_.name);
    if (result_.channels.empty()) {
      result_.channels.assign(
          static_cast<size_t>(layout.channels),
          Range{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()});
    }
    if (static_cast<size_t>(layout.channels) != result_.channels.size()) return;
    for (size_t i = 0; i < x.size(); ++i) {
      Range& range = result_.channels[layout.channel_of(i)];
      range.low = std::min(range.low, x[i]);
      range.high = std::max(range.high, x[i]);
    }
  }

  void see_values(const Tensor& tensor) {
    if (!observed_) observed_.emplace(ObservedData{Histogram(all_.range()), {}});
    observed_->histogram.add(tensor.data<float>());
    for (const float x : tensor.data<float>()) see_value(x);
    if (!wanted_.is_map) return;
    for (const float x : tensor.data<float>()) {
      result_.log2_noise += square(x - nearest_power(x, 1.0, false));
      result_.log_sqrt2_noise += square(x - nearest_power(x, 2.0, true));
    }
  }

  std::optional<TensorStatistics> take() {
    if (!observed_ || result_.count == 0.0) return std::nullopt;
    result_.data = all_.range();
    const BinPoints points(*observed_);
    RangeRequest request;
    request.bits = std::max(result_.grid.bits, kMinBits);
    request.ternary = result_.grid.ternary;
    request.rule = RangeRule::kMinMax;
    result_.widest_noise =
        points.squared_error(levels_of(choose_range(*observed_, request).params));
    request.rule = RangeRule::kMse;
    result_.best_noise = points.squared_error(levels_of(choose_range(*observed_, request).params));
    return std::move(result_);
  }

 private:
  void see_value(float x) {
    const float seen = result_.grid.nearest(x);
    const double noise = square(static_cast<double>(x) - seen);
    const bool clipped = result_.grid.clips(x);
    (clipped ? result_.clipping_noise : result_.rounding_noise) += noise;
    result_.count += 1.0;
    result_.signal += square(x);
    result_.clipped += clipped ? 1.0 : 0.0;
    result_.magnitude += std::abs(x);
    if (seen != 0.0F) return;
    result_.at_zero += 1.0;
    result_.magnitude_at_zero += std::abs(x);
  }

  const QuantizedValue& wanted_;
  TensorStatistics result_;
  Extent all_;
  std::optional<ObservedData> observed_;
};

}  // namespace

ChannelLayout::ChannelLayout(const Shape& shape) {
  if (shape.empty()) return;
  const bool image = shape.size() == 4;
  channels = std::max<int64_t>(image ? shape[1] : shape.back(), 1);
  inner = image ? std::max<int64_t>(shape[2] * shape[3], 1) : 1;
}

std::vector<TensorStatistics> measure_tensors(const Graph& exact,
                                              const std::vector<QuantizedValue>& values,
                                              InputSource& source, int threads,
                                              const Progress& progress) {
  std::vector<TensorStatistics> result;
  if (values.empty()) return result;
  std::vector<Gatherer> gatherers(values.begin(), values.end());
  std::map<std::string, size_t, std::less<>> position;
  std::vector<std::string> names;
  for (size_t i = 0; i < values.size(); ++i) {
    position[values[i].name] = i;
    names.push_back(values[i].name);
  }
  TappedRun run(exact, names, threads);
  const auto read = [&](const char* stage, void (Gatherer::*see)(const Tensor&)) {
    for_each_run(source, stage, progress, [&](const std::vector<Tensor>& inputs) {
      run.run(inputs, [&](std::string_view name, const Tensor& tensor) {
        (gatherers[position.find(name)->second].*see)(tensor);
      });
    });
  };
  read("extents", &Gatherer::see_extents);
  read("statistics", &Gatherer::see_values);
  for (Gatherer& gatherer : gatherers) {
    if (auto statistics = gatherer.take()) result.push_back(std::move(*statistics));
  }
  return result;
}

}  // namespace ounce::quantize
