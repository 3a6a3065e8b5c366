#include "quantize/calibrate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "engine/reference/reference.h"
#include "graph/operator.h"
#include "quantize/least_squares.h"
#include "quantize/tapped_run.h"

namespace ounce::quantize {
namespace {

class Observer {
 public:
  Observer(const Graph& graph, const Plan& plan, int threads)
      : graph_(graph), plan_(plan), threads_(threads) {
    for (size_t i = 0; i < plan.grids.size(); ++i) {
      for (const ValueId id : plan.grids[i].sources)
        users_[graph.value(id).name].grids.push_back(i);
    }
    for (size_t i = 0; i < plan.binarizers.size(); ++i) {
      users_[graph.value(plan.binarizers[i].value).name].binarizers.push_back(i);
    }
  }

  Observations run(InputSource& source, const Progress& progress) {
    Observations result;
    if (users_.empty()) return result;
    std::vector<std::string> names;
    for (const auto& [name, unused] : users_) names.push_back(name);
    TappedRun values(graph_, names, threads_);
    measure(source, progress, values, result);
    count(source, progress, values, result);
    refine(source, progress, values, result);
    return result;
  }

 private:
  /// Who looks at a value.
  struct Users {
    std::vector<size_t> grids;
    std::vector<size_t> binarizers;
  };

  void measure(InputSource& source, const Progress& progress, TappedRun& values,
               Observations& result) const {
    std::vector<Extent> grids(plan_.grids.size());
    std::vector<Extent> binarizers(plan_.binarizers.size());
    for_each_run(source, "ranges", progress, [&](const std::vector<Tensor>& inputs) {
      values.run(inputs, [&](std::string_view name, const Tensor& tensor) {
        const Users& users = users_.find(name)->second;
        for (const size_t i : users.grids) grids[i].add(tensor.data<float>(), name);
        for (const size_t i : users.binarizers) binarizers[i].add(tensor.data<float>(), name);
      });
      ++result.runs;
    });
    for (const Extent& extent : grids) {
      result.grids.emplace_back().histogram = Histogram(extent.range());
    }
    for (const Extent& extent : binarizers) {
      result.binarizers.push_back({Histogram(extent.range()), MeanMagnitude(extent.range())});
    }
  }

  void count(InputSource& source, const Progress& progress, TappedRun& values,
             Observations& result) const {
    for_each_run(source, "histograms", progress, [&](const std::vector<Tensor>& inputs) {
      values.run(inputs, [&](std::string_view name, const Tensor& tensor) {
        const Users& users = users_.find(name)->second;
        for (const size_t i : users.grids) result.grids[i].histogram.add(tensor.data<float>());
        for (const size_t i : users.binarizers) {
          result.binarizers[i].histogram.add(tensor.data<float>());
          result.binarizers[i].magnitude.add(tensor.data<float>());
        }
      });
    });
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
        for (const size_t grid : users_.find(name)->second.grids) {
          if (starved.count(grid) != 0) result.grids[grid].refined->add(tensor.data<float>());
        }
      });
    });
  }

  const Graph& graph_;
  const Plan& plan_;
  int threads_;
  std::map<std::string, Users, std::less<>> users_;  // by value name
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

/// Significant bits of a binarizer's scale: off by 0.4 % at most, far less than the data is.
constexpr int kScaleBits = 7;

/// `x` > 0 with `bits` significant bits.
float rounded_to_bits(float x, int bits) {
  int exponent = 0;
  const float fraction = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, bits)), exponent - bits);
}

int64_t bytes_of(const Value& value) {
  const auto shape = value.shape ? concrete(*value.shape) : std::nullopt;
  if (!shape || value.dtype == DType::undefined) return 0;
  return static_cast<int64_t>(byte_size(value.dtype, element_count(*shape)));
}

}  // namespace

int64_t calibration_bytes(const Graph& prepared, const Plan& plan,
                          const std::vector<Shape>& input_shapes, bool bias_correction) {
  Graph graph = prepared;
  InferOptions inference;
  inference.evaluator = &engine::reference::evaluator();
  specialize_inputs(graph, input_shapes, inference);
  const GraphIndex index(graph);
  std::set<ValueId> kept;  // looked at after the run
  for (const GridPlan& grid : plan.grids) kept.insert(grid.sources.begin(), grid.sources.end());
  for (const BinarizerPlan& binarizer : plan.binarizers) kept.insert(binarizer.value);
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
  const auto histograms = static_cast<int64_t>(2 * plan.grids.size() + plan.binarizers.size()) *
                          Histogram::kBins * static_cast<int64_t>(sizeof(uint64_t));
  int64_t outputs = 0;
  if (bias_correction) {
    // The twin of one layer at a time: operands as codes and numbers, result with and without bias.
    for (const LayerPlan& layer : plan.layers) {
      const Node& node = graph.nodes[static_cast<size_t>(layer.node)];
      int64_t bytes = 2 * bytes_of(graph.value(node.output(0)));
      for (const ValueId id : node.inputs) {
        if (id != kNoValue) bytes += 2 * bytes_of(graph.value(id));
      }
      outputs = std::max(outputs, bytes);
    }
  }
  return 2 * weights + peak + outputs + histograms;
}

Observations observe(const Graph& prepared, const Plan& plan, InputSource& source, int threads,
                     const Progress& progress) {
  return Observer(prepared, plan, threads).run(source, progress);
}

RangeRequest request_for(const Graph& prepared, const GridPlan& grid, const ObservedData& data) {
  RangeRequest request;
  request.rule = grid.range;
  request.bits = grid.bits;
  request.percentile = grid.percentile;
  request.lower_bound = grid.lower_bound;
  const bool two_sided = !grid.lower_bound && data.histogram.interval().low < 0.0F;
  if (request.rule == RangeRule::kUnilateral && two_sided) request.rule = RangeRule::kMse;
  request.ternary = grid.ternary;
  request.rule = rule_of(request.rule, request.ternary);
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

std::vector<float> choose_binarizer_scales(const Plan& plan, const Observations& observations) {
  std::vector<float> scales;
  for (size_t i = 0; i < plan.binarizers.size(); ++i) {
    const ObservedSigns& data = observations.binarizers[i];
    const float scale =
        plan.binarizers[i].is_unsigned ? zero_one_scale(data.histogram) : data.magnitude.mean();
    scales.push_back(rounded_to_bits(std::max(scale, kSmallestScale), kScaleBits));
  }
  return scales;
}

}  // namespace ounce::quantize
