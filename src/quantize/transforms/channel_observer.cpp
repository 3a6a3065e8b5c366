#include "quantize/transforms/channel_observer.h"

#include <algorithm>
#include <map>

#include "graph/error.h"
#include "quantize/tapped_run.h"
#include "quantize/transforms/row_sampler.h"

namespace ounce::quantize {
namespace {

constexpr int64_t kBudgetBytes = int64_t{256} << 20;
constexpr int64_t kHistogramBytes = Histogram::kBins * static_cast<int64_t>(sizeof(uint64_t));

int64_t channels_of(const Tensor& tensor) {
  return tensor.rank() > 0 ? tensor.shape().back() : 1;
}

/// Column `channel` of the rows of a tensor.
void column_of(const Tensor& tensor, int64_t channel, std::vector<float>& column) {
  const int64_t channels = channels_of(tensor);
  const float* x = tensor.data<float>().data() + channel;
  column.resize(static_cast<size_t>(tensor.size() / channels));
  for (float& value : column) {
    value = *x;
    x += channels;
  }
}

/// Both readings of one value.
class Observer {
 public:
  explicit Observer(int64_t most_rows) : most_rows_(most_rows) {}

  void see_extents(std::string_view name, const Tensor& tensor) {
    extents_.resize(static_cast<size_t>(channels_of(tensor)));
    for (size_t c = 0; c < extents_.size(); ++c) {
      column_of(tensor, static_cast<int64_t>(c), column_);
      extents_[c].add(column_, name);
    }
    ++runs_;
  }

  void see_histograms(const Tensor& tensor) {
    if (histograms_.empty()) {
      for (const Extent& extent : extents_) histograms_.emplace_back(extent.range());
    }
    for (size_t c = 0; c < histograms_.size(); ++c) {
      column_of(tensor, static_cast<int64_t>(c), column_);
      histograms_[c].add(column_);
    }
    keep_rows(tensor);
  }

  ObservedChannels take() {
    ObservedChannels result;
    for (Histogram& histogram : histograms_) result.channels.push_back({std::move(histogram), {}});
    const auto channels = static_cast<int64_t>(extents_.size());
    result.rows = Tensor::of(rows_, {static_cast<int64_t>(rows_.size()) / channels, channels});
    return result;
  }

 private:
  /// As many of every run.
  void keep_rows(const Tensor& tensor) {
    const int64_t kept = static_cast<int64_t>(rows_.size()) / channels_of(tensor);
    append_rows(tensor, std::min((most_rows_ + runs_ - 1) / runs_, most_rows_ - kept), rows_);
  }

  int64_t most_rows_;
  int64_t runs_ = 0;
  std::vector<Extent> extents_;
  std::vector<Histogram> histograms_;
  std::vector<float> rows_;
  std::vector<float> column_;
};

int64_t width_of(const Graph& graph, const std::string& name) {
  const auto& shape = graph.value(graph.find_value(name)).shape;
  return shape && !shape->empty() ? std::max<int64_t>(shape->back().value, 1) : 1;
}

void observe_some(const Graph& graph, const std::vector<std::string>& values, InputSource& source,
                  int64_t most_rows, int threads, const Progress& progress,
                  std::vector<ObservedChannels>& result) {
  std::map<std::string, Observer, std::less<>> observers;
  for (const std::string& value : values) observers.emplace(value, Observer(most_rows));
  TappedRun run(graph, values, threads);
  bool any = false;
  for_each_run(source, "channel ranges", progress, [&](const std::vector<Tensor>& inputs) {
    run.run(inputs, [&](std::string_view name, const Tensor& tensor) {
      observers.find(name)->second.see_extents(name, tensor);
    });
    any = true;
  });
  if (!any) throw Error("the calibration data is empty");
  for_each_run(source, "channel histograms", progress, [&](const std::vector<Tensor>& inputs) {
    run.run(inputs, [&](std::string_view name, const Tensor& tensor) {
      observers.find(name)->second.see_histograms(tensor);
    });
  });
  for (const std::string& value : values) result.push_back(observers.find(value)->second.take());
}

}  // namespace

std::vector<ObservedChannels> observe_channels(const Graph& graph,
                                               const std::vector<std::string>& values,
                                               InputSource& source, int64_t most_rows, int threads,
                                               const Progress& progress) {
  std::vector<ObservedChannels> result;
  for (size_t first = 0; first < values.size();) {
    size_t last = first;
    for (int64_t bytes = 0; last < values.size(); ++last) {
      bytes += width_of(graph, values[last]) * kHistogramBytes;
      if (bytes > kBudgetBytes && last > first) break;
    }
    const auto begin = values.begin() + static_cast<int64_t>(first);
    observe_some(graph, {begin, values.begin() + static_cast<int64_t>(last)}, source, most_rows,
                 threads, progress, result);
    first = last;
  }
  return result;
}

}  // namespace ounce::quantize
