#include "quantize/analysis/compare.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "graph/error.h"
#include "quantize/analysis/chosen_grid.h"
#include "quantize/decibels.h"
#include "quantize/histogram.h"
#include "quantize/isolate.h"
#include "quantize/tapped_run.h"

namespace ounce::quantize {
namespace {

/// Running sums over pairs of tensors.
class ErrorSums {
 public:
  void add(const Tensor& exact, const Tensor& other) {
    const auto a = exact.data<float>();
    const auto b = other.data<float>();
    const size_t count = std::min(a.size(), b.size());
    for (size_t i = 0; i < count; ++i) {
      const double x = a[i];
      const double y = b[i];
      aa_ += x * x;
      bb_ += y * y;
      ab_ += x * y;
      dd_ += (x - y) * (x - y);
    }
  }

  TensorError result() const {
    TensorError error;
    error.sqnr_db = decibels(aa_, dd_);
    if (dd_ <= 0.0) return error;
    error.cosine = aa_ > 0.0 && bb_ > 0.0 ? ab_ / std::sqrt(aa_ * bb_) : 0.0;
    error.relative_l2 = aa_ > 0.0 ? std::sqrt(dd_ / aa_) : 1.0;
    return error;
  }

 private:
  double aa_ = 0.0, bb_ = 0.0, ab_ = 0.0, dd_ = 0.0;
};

/// Everything that is summed about one shared value.
struct Sums {
  ErrorSums accumulated;
  ErrorSums own;
  Extent extent;
  int64_t elements = 0;
};

void check_interfaces(const Graph& exact, const Graph& quantized) {
  if (exact.inputs.size() != quantized.inputs.size() ||
      exact.outputs.size() != quantized.outputs.size()) {
    throw Error("the two models have different inputs or outputs, so they cannot be compared", {},
                "a model and its quantized form");
  }
}

/// Bytes of a value when its shape is known but for batch dimensions, which count as 1.
int64_t typical_bytes(const Value& value) {
  int64_t elements = 1;
  if (value.shape) {
    for (const Dim& dim : *value.shape)
      elements *= dim.known() ? std::max<int64_t>(dim.value, 1) : 1;
  }
  return elements * static_cast<int64_t>(sizeof(float));
}

/// Values cut into runs whose copies fit the budget (three copies each: exact, own, accumulated).
std::vector<std::vector<size_t>> chunks_of(const Graph& quantized,
                                           const std::vector<SharedValue>& values, int64_t budget) {
  std::vector<std::vector<size_t>> chunks;
  int64_t used = budget + 1;
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t bytes = 3 * typical_bytes(quantized.value(values[i].in_quantized));
    if (used + bytes > budget || chunks.empty()) {
      chunks.emplace_back();
      used = 0;
    }
    chunks.back().push_back(i);
    used += bytes;
  }
  return chunks;
}

Tensor copy_of(const Tensor& tensor) {
  return Tensor::of(tensor.data<float>(), tensor.shape());
}

/// One reading of the data for some of the values.
class Reading {
 public:
  Reading(const Graph& exact, const Graph& quantized, std::vector<SharedValue> values, int threads)
      : values_(std::move(values)),
        alone_(isolate(exact, quantized, values_, own_names_)),
        exact_run_(alone_, exact_taps(), threads),
        quantized_run_(quantized, seen_taps(quantized), threads) {
    for (size_t i = 0; i < values_.size(); ++i) {
      exact_of_[values_[i].name] = i;
      own_of_[own_names_[i]] = i;
      seen_of_[quantized.value(values_[i].seen).name] = i;
    }
  }

  void run(std::span<const Tensor> inputs, std::span<Sums> sums) {
    std::vector<Tensor> exact(values_.size());
    std::vector<Tensor> own(values_.size());
    exact_run_.run(inputs, [&](std::string_view name, const Tensor& tensor) {
      if (const auto found = exact_of_.find(name); found != exact_of_.end()) {
        exact[found->second] = copy_of(tensor);
      } else if (const auto other = own_of_.find(name); other != own_of_.end()) {
        own[other->second] = copy_of(tensor);
      }
    });
    for (size_t i = 0; i < exact.size(); ++i) {
      // What does not depend on the input is folded away, and with it the tap.
      if (!exact[i].defined() || !own[i].defined()) continue;
      sums[i].own.add(exact[i], own[i]);
      own[i] = Tensor();
      sums[i].extent.add(exact[i].data<float>(), values_[i].name);
      sums[i].elements = exact[i].size();
    }
    quantized_run_.run(inputs, [&](std::string_view name, const Tensor& tensor) {
      const auto found = seen_of_.find(name);
      if (found == seen_of_.end() || !exact[found->second].defined()) return;
      sums[found->second].accumulated.add(exact[found->second], tensor);
    });
  }

 private:
  using Positions = std::map<std::string, size_t, std::less<>>;

  std::vector<std::string> exact_taps() const {
    std::vector<std::string> taps = own_names_;
    for (const SharedValue& value : values_) taps.push_back(value.name);
    return taps;
  }
  std::vector<std::string> seen_taps(const Graph& quantized) const {
    std::vector<std::string> taps;
    for (const SharedValue& value : values_) taps.push_back(quantized.value(value.seen).name);
    return taps;
  }

  std::vector<SharedValue> values_;
  std::vector<std::string> own_names_;
  Graph alone_;
  TappedRun exact_run_;
  TappedRun quantized_run_;
  Positions exact_of_, own_of_, seen_of_;
};

/// Forgets values that no run delivered.
void drop_unseen(std::vector<SharedValue>& values, std::vector<Sums>& sums) {
  size_t kept = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (sums[i].elements == 0) continue;
    std::swap(values[kept], values[i]);
    std::swap(sums[kept], sums[i]);
    ++kept;
  }
  values.resize(kept);
  sums.resize(kept);
}

/// The range that a quantizer keeps: its codes, cut by a Clip before it.
TensorHistogram chosen_range(const Graph& graph, const GraphIndex& index,
                             const SharedValue& value) {
  TensorHistogram result;
  result.value = value.name;
  if (const auto grid = chosen_grid(graph, index, value.quantizer)) {
    result.chosen = grid->range;
    result.bits = grid->bits;
  }
  return result;
}

/// Neighbouring bins added up: pages draw fewer than searches need.
std::vector<uint64_t> drawn_bins(const Histogram& histogram) {
  constexpr size_t kDrawn = 128;
  std::vector<uint64_t> bins(kDrawn, 0);
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    bins[i * kDrawn / histogram.counts().size()] += histogram.counts()[i];
  }
  return bins;
}

void fill_histograms(const Graph& exact, const Graph& quantized,
                     const std::vector<SharedValue>& values, const std::vector<Sums>& sums,
                     InputSource& source, const CompareOptions& options, const Progress& progress,
                     Comparison& comparison) {
  std::vector<size_t> order;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].quantizer >= 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return comparison.tensors[a].own.sqnr_db < comparison.tensors[b].own.sqnr_db;
  });
  order.resize(std::min(order.size(), static_cast<size_t>(std::max(0, options.histograms))));
  if (order.empty()) return;
  std::map<std::string, Histogram, std::less<>> histograms;
  std::vector<std::string> names;
  for (const size_t i : order) {
    names.push_back(values[i].name);
    histograms.emplace(values[i].name, Histogram(sums[i].extent.range()));
  }
  TappedRun run(exact, names, options.threads);
  for_each_run(source, "histograms", progress, [&](const std::vector<Tensor>& inputs) {
    run.run(inputs, [&](std::string_view name, const Tensor& tensor) {
      histograms.find(name)->second.add(tensor.data<float>());
    });
  });
  const GraphIndex index(quantized);
  for (const size_t i : order) {
    TensorHistogram result = chosen_range(quantized, index, values[i]);
    const Histogram& histogram = histograms.find(values[i].name)->second;
    result.data = histogram.interval();
    result.counts = drawn_bins(histogram);
    result.own_sqnr_db = comparison.tensors[i].own.sqnr_db;
    comparison.histograms.push_back(std::move(result));
  }
}

}  // namespace

Comparison compare(const Graph& exact, const Graph& quantized, InputSource& source,
                   const CompareOptions& options, const Progress& progress) {
  check_interfaces(exact, quantized);
  std::vector<SharedValue> values = shared_values(exact, quantized);
  if (values.empty()) {
    throw Error("the two models share no tensor names, so they cannot be compared", {},
                "the float model that the quantized one was made from");
  }
  std::vector<Sums> sums(values.size());
  Comparison comparison;
  for (const std::vector<size_t>& chunk : chunks_of(quantized, values, options.budget_bytes)) {
    const auto first = values.begin() + static_cast<int64_t>(chunk.front());
    Reading reading(exact, quantized, {first, first + static_cast<int64_t>(chunk.size())},
                    options.threads);
    const std::span<Sums> chunk_sums(sums.data() + chunk.front(), chunk.size());
    comparison.runs = 0;
    for_each_run(source, "comparing", progress, [&](const std::vector<Tensor>& inputs) {
      reading.run(inputs, chunk_sums);
      ++comparison.runs;
    });
  }
  drop_unseen(values, sums);
  double least = kSilentDb;
  for (size_t i = 0; i < values.size(); ++i) {
    comparison.tensors.push_back({values[i].name, values[i].node, values[i].op, sums[i].elements,
                                  sums[i].accumulated.result(), sums[i].own.result()});
    if (comparison.tensors.back().own.sqnr_db < least) {
      least = comparison.tensors.back().own.sqnr_db;
      comparison.worst = values[i].name;
    }
    if (comparison.first_broken.empty() &&
        comparison.tensors.back().accumulated.sqnr_db < kBrokenDb) {
      comparison.first_broken = values[i].name;
    }
  }
  fill_histograms(exact, quantized, values, sums, source, options, progress, comparison);
  return comparison;
}

}  // namespace ounce::quantize
