#include "quantize/calibrate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "engine/reference/reference.h"
#include "graph/operator.h"
#include "quantize/tapped_run.h"

namespace ounce::quantize {
namespace {

/// Sums of per-run channel means as integers, so that their order does not matter to the last bit.
class ChannelMeans {
 public:
  ChannelMeans() = default;
  /// `largest`: of |x| over the data. 2^40 units leave room for 2^22 runs in 63 bits.
  ChannelMeans(int64_t axis_from_end, float largest)
      : axis_from_end_(axis_from_end),
        unit_(std::max(static_cast<double>(largest), 1e-30) * std::ldexp(1.0, -40)) {}

  void add(const Tensor& tensor) {
    const int64_t axis = tensor.rank() - axis_from_end_;
    if (axis < 0 || tensor.size() == 0) return;
    const int64_t channels = tensor.shape()[static_cast<size_t>(axis)];
    const int64_t inner = row_major_strides(tensor.shape())[static_cast<size_t>(axis)];
    sums_.resize(static_cast<size_t>(channels), 0);
    std::vector<double> run(static_cast<size_t>(channels), 0.0);
    const float* x = tensor.data<float>().data();
    for (int64_t outer = 0; outer < tensor.size() / (channels * inner); ++outer) {
      for (double& sum : run) {
        for (int64_t i = 0; i < inner; ++i) sum += *x++;
      }
    }
    const double scale = static_cast<double>(channels) / static_cast<double>(tensor.size()) / unit_;
    for (size_t c = 0; c < run.size(); ++c) sums_[c] += std::llround(run[c] * scale);
    ++runs_;
  }

  std::vector<float> means() const {
    std::vector<float> result;
    for (const int64_t sum : sums_) {
      result.push_back(static_cast<float>(static_cast<double>(sum) * unit_ /
                                          static_cast<double>(std::max<int64_t>(runs_, 1))));
    }
    return result;
  }

 private:
  int64_t axis_from_end_ = 1;
  double unit_ = 1.0;
  int64_t runs_ = 0;
  std::vector<int64_t> sums_;
};

class Observer {
 public:
  Observer(const Graph& graph, const Plan& plan, const ObserveOptions& options)
      : graph_(graph), plan_(plan), options_(options) {
    for (size_t i = 0; i < plan.grids.size(); ++i) {
      for (const ValueId id : plan.grids[i].sources) grids_of_[graph.value(id).name].push_back(i);
    }
  }

  Observations run(InputSource& source, const Progress& progress) {
    Observations result;
    if (plan_.grids.empty() && !options_.input_means) return result;
    TappedRun values(graph_, names_of(grids_of_), options_.threads);
    std::vector<Extent> extents(plan_.grids.size());
    for_each_run(source, "ranges", progress, [&](const std::vector<Tensor>& inputs) {
      values.run(inputs, [&](std::string_view name, const Tensor& tensor) {
        for (const size_t grid : grids_of_.find(name)->second) {
          extents[grid].add(tensor.data<float>(), name);
        }
      });
      ++result.runs;
    });
    result.grids.resize(extents.size());
    for (size_t i = 0; i < extents.size(); ++i) {
      result.grids[i].histogram = Histogram(extents[i].range());
    }
    count(source, progress, result);
    refine(source, progress, values, result);
    return result;
  }

 private:
  using Users = std::map<std::string, std::vector<size_t>, std::less<>>;

  static std::vector<std::string> names_of(const Users& users) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : users) names.push_back(name);
    return names;
  }

  /// The layers' inputs whose channel means are wanted.
  Users mean_users() const {
    Users users;
    if (!options_.input_means) return users;
    for (size_t i = 0; i < plan_.layers.size(); ++i) {
      if (!plan_.layers[i].weights) continue;
      const Node& node = graph_.nodes[static_cast<size_t>(plan_.layers[i].node)];
      users[graph_.value(node.input(0)).name].push_back(i);
    }
    return users;
  }

  void count(InputSource& source, const Progress& progress, Observations& result) const {
    const Users mean_users_of = mean_users();
    std::map<std::string, ChannelMeans, std::less<>> means;
    Users all = grids_of_;
    for (const auto& [name, layers] : mean_users_of) {
      all.try_emplace(name);
      const Node& node = graph_.nodes[static_cast<size_t>(plan_.layers[layers.front()].node)];
      const int grid = plan_.grid_of[static_cast<size_t>(node.input(0))];
      // Weight-only layers have no observed input; their unit need only be small enough.
      constexpr float kTypical = 1024.0F;
      float largest = kTypical;
      if (grid >= 0) {
        const Range range = result.grids[static_cast<size_t>(grid)].histogram.interval();
        largest = std::max(std::fabs(range.low), std::fabs(range.high));
      }
      const Tensor* weights = graph_.constant(node.input(1));
      const int64_t from_end = node.op == "Conv" ? weights->rank() - 1 : 1;
      means.emplace(name, ChannelMeans(from_end, largest));
    }
    TappedRun values(graph_, names_of(all), options_.threads);
    for_each_run(source, "histograms", progress, [&](const std::vector<Tensor>& inputs) {
      values.run(inputs, [&](std::string_view name, const Tensor& tensor) {
        for (const size_t grid : all.find(name)->second) {
          result.grids[grid].histogram.add(tensor.data<float>());
        }
        if (const auto found = means.find(name); found != means.end()) found->second.add(tensor);
      });
    });
    result.input_means.resize(plan_.layers.size());
    for (const auto& [name, layers] : mean_users_of) {
      for (const size_t layer : layers)
        result.input_means[layer] = means.find(name)->second.means();
    }
  }

  /// Where a few outliers left the search blind, the bulk is looked at once more.
  void refine(InputSource& source, const Progress& progress, TappedRun& values,
              Observations& result) const {
    std::set<size_t> starved;
    for (size_t i = 0; i < result.grids.size(); ++i) {
      const RangeRequest request = request_for(graph_, plan_.grids[i], result.grids[i]);
      if (!choose_range(result.grids[i], request).starved) continue;
      starved.insert(i);
      result.grids[i].refined = Histogram(refinement_window(result.grids[i].histogram, request));
    }
    if (starved.empty()) return;
    for_each_run(source, "finer histograms", progress, [&](const std::vector<Tensor>& inputs) {
      values.run(inputs, [&](std::string_view name, const Tensor& tensor) {
        for (const size_t grid : grids_of_.find(name)->second) {
          if (starved.count(grid) != 0) result.grids[grid].refined->add(tensor.data<float>());
        }
      });
    });
  }

  const Graph& graph_;
  const Plan& plan_;
  ObserveOptions options_;
  Users grids_of_;  // value name -> indices of the grids that observe it
};

/// The function of one value that a table node computes, by the reference operator.
Function function_of(const Graph& graph, int table, ValueId argument) {
  const Node node = graph.nodes[static_cast<size_t>(table)];
  std::vector<Tensor> operands;
  size_t position = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Tensor* constant = graph.constant(node.inputs[i]);
    if (node.inputs[i] == argument) position = i;
    // Scalars of any rank: the table has rank 1.
    operands.push_back(constant != nullptr ? constant->reshaped({}) : Tensor());
  }
  return [node, operands, position](std::span<const float> in, std::span<float> out) {
    std::vector<Tensor> inputs = operands;
    inputs[position] = Tensor::of(in, {static_cast<int64_t>(in.size())});
    const Tensor result = engine::reference::evaluate(node, inputs)[0];
    std::copy(result.data<float>().begin(), result.data<float>().end(), out.begin());
  };
}

int64_t bytes_of(const Value& value) {
  const auto shape = value.shape ? concrete(*value.shape) : std::nullopt;
  if (!shape || value.dtype == DType::undefined) return 0;
  return static_cast<int64_t>(byte_size(value.dtype, element_count(*shape)));
}

}  // namespace

int64_t calibration_bytes(const Graph& prepared, const Plan& plan,
                          const std::vector<Shape>& input_shapes) {
  Graph graph = prepared;
  InferOptions inference;
  inference.evaluator = &engine::reference::evaluator();
  specialize_inputs(graph, input_shapes, inference);
  const GraphIndex index(graph);
  std::set<ValueId> kept;  // looked at after the run
  for (const GridPlan& grid : plan.grids) kept.insert(grid.sources.begin(), grid.sources.end());
  std::vector<size_t> readers(graph.values.size());
  int64_t weights = 0;
  for (size_t i = 0; i < graph.values.size(); ++i) {
    readers[i] = index.consumers(static_cast<ValueId>(i)).size();
    if (graph.values[i].is_constant()) weights += bytes_of(graph.values[i]);
  }
  int64_t live = 0;
  for (const ValueId id : graph.inputs) live += bytes_of(graph.value(id));
  int64_t peak = live;
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) live += bytes_of(graph.value(id));
    }
    peak = std::max(peak, live);
    for (const ValueId id : node.inputs) {
      if (id == kNoValue || graph.value(id).is_constant()) continue;
      if (--readers[static_cast<size_t>(id)] == 0 && kept.count(id) == 0 &&
          index.producer(id) >= 0) {
        live -= bytes_of(graph.value(id));
      }
    }
  }
  const auto histograms = static_cast<int64_t>(plan.grids.size()) * 2 * Histogram::kBins *
                          static_cast<int64_t>(sizeof(uint64_t));
  return 2 * weights + peak + histograms;
}

Observations observe(const Graph& prepared, const Plan& plan, InputSource& source,
                     const ObserveOptions& options, const Progress& progress) {
  return Observer(prepared, plan, options).run(source, progress);
}

RangeRequest request_for(const Graph& prepared, const GridPlan& grid, const ObservedData& data) {
  RangeRequest request;
  request.rule = grid.range;
  request.bits = grid.bits;
  request.percentile = grid.percentile;
  request.lower_bound = grid.lower_bound;
  const bool two_sided = !grid.lower_bound && data.histogram.interval().low < 0.0F;
  if (request.rule == RangeRule::kUnilateral && two_sided) request.rule = RangeRule::kMse;
  if (grid.table >= 0) {
    request.rule = RangeRule::kMse;
    request.behind = function_of(prepared, grid.table, grid.values.front());
  }
  return request;
}

std::vector<QuantParams> choose_grids(const Graph& prepared, const Plan& plan,
                                      const Observations& observations) {
  std::vector<QuantParams> params;
  for (size_t i = 0; i < plan.grids.size(); ++i) {
    const ObservedData& data = observations.grids[i];
    params.push_back(choose_range(data, request_for(prepared, plan.grids[i], data)).params);
  }
  return params;
}

}  // namespace ounce::quantize
