#include "quantize/quantizer.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "graph/error.h"
#include "quantize/bias_correction.h"
#include "quantize/decibels.h"
#include "quantize/guard.h"
#include "quantize/rounding/input_grams.h"

namespace ounce::quantize {
namespace {

double weight_sqnr(const Tensor& exact, const Tensor& rounded) {
  double signal = 0.0;
  double noise = 0.0;
  const auto a = exact.data<float>();
  const auto b = rounded.data<float>();
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    signal += static_cast<double>(a[i]) * a[i];
    noise += difference * difference;
  }
  return decibels(signal, noise);
}

double grid_sqnr(const ObservedData& data, const QuantParams& params) {
  const BinPoints points(data);
  double signal = 0.0;
  for (size_t i = 0; i < points.centres().size(); ++i) {
    signal += points.count(i) * points.centres()[i] * points.centres()[i];
  }
  return decibels(signal, points.squared_error(levels_of(params)));
}

std::vector<LayerRecord> layer_records(const Graph& prepared, const Plan& plan,
                                       const std::vector<QuantizedLayer>& layers) {
  std::vector<LayerRecord> records = planned_layers(prepared, plan);
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    if (!plan.layers[i].weights) continue;
    const Tensor& weights = prepared.value(plan.layers[i].weights->weights).constant;
    records[i].weight_sqnr_db = weight_sqnr(weights, layers[i].weights.dequantize());
  }
  return records;
}

/// The numbers of the two levels of a binarizer.
Range ends_of(const BinarizerPlan& binarizer, float scale) {
  return {binarizer.is_unsigned ? 0.0F : -scale, scale};
}

double binarizer_sqnr(const Histogram& data, const BinarizerPlan& binarizer, float scale) {
  const Range ends = ends_of(binarizer, scale);
  const double threshold = binarizer.is_unsigned ? 0.5 * static_cast<double>(scale) : 0.0;
  double signal = 0.0;
  double noise = 0.0;
  for (int bin = 0; bin < data.bins(); ++bin) {
    const auto count = static_cast<double>(data.counts()[static_cast<size_t>(bin)]);
    const double x = data.centre(bin);
    const double difference = x - static_cast<double>(x < threshold ? ends.low : ends.high);
    signal += count * x * x;
    noise += count * difference * difference;
  }
  return decibels(signal, noise);
}

void add_binarizer_records(const Graph& prepared, const Plan& plan,
                           const std::vector<float>& scales, const Observations& observations,
                           std::vector<GridRecord>& records) {
  for (size_t i = 0; i < plan.binarizers.size(); ++i) {
    const BinarizerPlan& binarizer = plan.binarizers[i];
    const Histogram& data = observations.binarizers[i].histogram;
    GridRecord& record = records.emplace_back();
    record.value = prepared.value(binarizer.value).name;
    record.values = {record.value};
    record.bits = 1;
    record.rule = binarizer.is_unsigned ? "zero-one" : "signs";
    record.scale = scales[i];
    record.chosen = ends_of(binarizer, scales[i]);
    record.data = data.interval();
    record.sqnr_db = binarizer_sqnr(data, binarizer, scales[i]);
  }
}

std::vector<GridRecord> grid_records(const Graph& prepared, const Plan& plan,
                                     const std::vector<QuantParams>& params,
                                     const Observations& observations) {
  std::vector<GridRecord> records;
  for (size_t i = 0; i < plan.grids.size(); ++i) {
    const ObservedData& data = observations.grids[i];
    GridRecord& record = records.emplace_back();
    for (const ValueId id : plan.grids[i].values) record.values.push_back(prepared.value(id).name);
    record.value = record.values.front();
    record.bits = params[i].bits;
    record.ternary = params[i].ternary;
    record.rule = plan.grids[i].table >= 0
                      ? "table"
                      : name_of(request_for(prepared, plan.grids[i], data).rule);
    record.scale = params[i].scale;
    record.zero_point = params[i].zero_point;
    record.chosen = params[i].range();
    record.data = data.histogram.interval();
    record.sqnr_db = grid_sqnr(data, params[i]);
  }
  return records;
}

std::string megabytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) * 1e-6);
  return text;
}

/// Rounds weights anew by what their layers read in the network as it is quantized so far.
void round_by_correlation(const Graph& prepared, const Plan& plan, InputSource& source, int threads,
                          const Progress& progress, Calibration& calibration) {
  const Graph first = insert_qdq(prepared, plan, calibration);
  InputGrams(prepared, first, plan)
      .for_each(source, threads, progress, [&](size_t i, const Gram& gram) {
        const LayerPlan& layer = plan.layers[i];
        gptq_round(prepared.value(layer.weights->weights).constant, layer.weights->axes,
                   layer.settings.weights, gram, calibration.layers[i].weights);
      });
}

/// Everything after the plan.
QuantizeResult carry_out(const Graph& prepared, const Plan& plan, const Options& options,
                         InputSource& source, const Progress& progress,
                         const Refinement& refine = {}, CalibrationCache* cache = nullptr) {
  const auto [observations, calibration] =
      calibrate(prepared, plan, options, source, progress, refine, cache);
  QuantizeResult result;
  result.graph = insert_qdq(prepared, plan, calibration);
  result.layers = layer_records(prepared, plan, calibration.layers);
  result.grids = grid_records(prepared, plan, calibration.grids, observations);
  add_binarizer_records(prepared, plan, calibration.binarizer_scales, observations, result.grids);
  result.kept_float = plan.kept_float;
  for (const ValueId id : plan.embeddings) {
    result.embeddings.push_back(prepared.value(id).name);
  }
  result.calibration_runs = observations.runs;
  return result;
}

/// Layers whose integer form takes longer than the float one, with the reason in numbers.
Exclusions slower_on_integers(const LatencyComparison& latency) {
  // Differences of a few per cent are timer noise, and a piece that takes a thousandth of the time
  // decides nothing.
  constexpr double kTolerance = 1.05;
  constexpr double kLeastShare = 1e-3;
  Exclusions slow;
  for (const PieceTime& piece : latency.pieces) {
    const double loss = piece.quantized_ms - kTolerance * piece.float_ms;
    if (loss <= kLeastShare * latency.float_ms) continue;
    char text[96];
    std::snprintf(text, sizeof text, "slower on integers here: %.3f ms against %.3f ms in float",
                  piece.quantized_ms, piece.float_ms);
    for (const std::string& layer : piece.layers) slow[layer] = text;
  }
  return slow;
}

/// Replaces `plan` by one without the layers that integers slow down. Times do not depend on the
/// numbers, so this is settled before any data is read.
LatencyComparison drop_slow_layers(const Graph& prepared, const Options& options,
                                   const std::vector<Tensor>& sample,
                                   const std::vector<Shape>& shapes, const Progress& progress,
                                   Exclusions& exclusions, Plan& plan) {
  // A layer that goes takes conversions with it or adds some, so neighbours are timed again.
  constexpr int kRounds = 4;
  for (int round = 0;; ++round) {
    progress.step("timing", round, kRounds);
    const Graph quantized = insert_qdq(prepared, plan, placeholder_calibration(prepared, plan));
    LatencyComparison latency = compare_latency(prepared, quantized, plan, sample, options.threads);
    const Exclusions slow = slower_on_integers(latency);
    if (slow.empty() || round == kRounds) return latency;
    for (const auto& [node, reason] : slow) progress.tell(node + " stays in float: " + reason);
    exclusions.insert(slow.begin(), slow.end());
    plan = make_executable_plan(prepared, options, shapes, exclusions);
  }
}

}  // namespace

Calibrated calibrate(const Graph& prepared, const Plan& plan, const Options& options,
                     InputSource& source, const Progress& progress, const Refinement& refine,
                     CalibrationCache* cache) {
  if (cache != nullptr && !refine.weigh && !refine.round &&
      CalibrationCache::serves(plan, options)) {
    return cache->calibrate(prepared, plan, options, source, progress);
  }
  Calibrated result;
  result.observations = observe(prepared, plan, source, options.threads, progress);
  Calibration& calibration = result.calibration;
  if (refine.weigh) {
    Observations weighed = result.observations;
    refine.weigh(prepared, plan, source, progress, weighed);
    calibration.grids = choose_grids(prepared, plan, weighed);
  } else {
    calibration.grids = choose_grids(prepared, plan, result.observations);
  }
  calibration.binarizer_scales = choose_binarizer_scales(plan, result.observations);
  calibration.layers = quantize_layers(prepared, plan, calibration.grids);
  const bool by_correlation = is_learned(options.rounding)
                                  ? options.tuning_start == TuningStart::kGptq
                                  : options.rounding == Rounding::kGptq;
  if (by_correlation) {
    round_by_correlation(prepared, plan, source, options.threads, progress, calibration);
  }
  if (refine.round) refine.round(prepared, plan, source, progress, calibration);
  if (options.bias_correction) {
    const Graph first = insert_qdq(prepared, plan, calibration);
    correct_biases(prepared, plan,
                   mean_layer_errors(prepared, first, plan, source, options.threads, progress),
                   calibration);
  }
  return result;
}

std::vector<LayerRecord> planned_layers(const Graph& prepared, const Plan& plan) {
  std::vector<LayerRecord> records;
  for (const LayerPlan& layer : plan.layers) {
    const Node& node = prepared.nodes[static_cast<size_t>(layer.node)];
    LayerRecord& record = records.emplace_back();
    record.node = node.name;
    record.op = node.op;
    record.input = prepared.value(node.input(0)).name;
    record.activation_bits = layer.weight_only ? 0 : layer.settings.activation_bits;
    record.ternary_activations = !layer.weight_only && layer.settings.ternary_activations;
    record.is_end = layer.is_end;
    if (!layer.weights) continue;
    const WeightOptions& weights = layer.settings.weights;
    record.weight_bits = weights.bits;
    record.ternary = weights.ternary;
    record.granularity = name_of(weights.granularity);
    record.weight_rule = name_of(rule_of(weights));
    record.parameters = prepared.value(layer.weights->weights).constant.size();
  }
  return records;
}

int64_t constant_bytes(const Graph& graph) {
  int64_t bytes = 0;
  for (const Value& value : graph.values) {
    if (value.is_constant()) bytes += static_cast<int64_t>(value.constant.bytes());
  }
  return bytes;
}

DryRun dry_run(const Graph& graph, const Options& options, std::vector<Shape> input_shapes) {
  if (input_shapes.empty()) {
    for (const ValueId id : graph.inputs) {
      Shape shape;
      if (graph.value(id).shape) {
        for (const Dim& dim : *graph.value(id).shape) shape.push_back(dim.known() ? dim.value : 1);
      }
      input_shapes.push_back(std::move(shape));
    }
  }
  DryRun result;
  result.prepared = prepare(graph, options);
  result.plan = make_executable_plan(result.prepared, options, input_shapes);
  result.calibration_bytes =
      calibration_bytes(result.prepared, result.plan, input_shapes, options.bias_correction);
  return result;
}

QuantizeResult quantize(const Graph& graph, const Options& options, InputSource& source,
                        const Progress& progress, const Refinement& refine,
                        CalibrationCache* cache) {
  const std::vector<Tensor> sample = first_run(source);
  const std::vector<Shape> shapes = shapes_of(sample);
  Graph prepared = prepare(graph, options);
  std::vector<TransformRecord> transforms = transform(prepared, options, source, progress);
  Guarded settled = options.least_db_per_bit > 0.0
                        ? guard_plan(prepared, options, shapes, source, progress)
                        : Guarded{options, {}, make_executable_plan(prepared, options, shapes)};
  Plan& plan = settled.plan;
  std::optional<LatencyComparison> latency;
  if (options.drop_slow_layers) {
    latency = drop_slow_layers(prepared, settled.options, sample, shapes, progress,
                               settled.exclusions, plan);
  }
  progress.tell("calibration needs at most " +
                megabytes(calibration_bytes(prepared, plan, shapes, options.bias_correction)));
  QuantizeResult result = carry_out(prepared, plan, options, source, progress, refine, cache);
  for (LayerRecord& layer : result.layers) {
    layer.is_widened = settled.widened.count(layer.node) != 0;
  }
  result.latency = std::move(latency);
  result.transforms = std::move(transforms);
  result.prepared = prepared;
  result.float_bytes = constant_bytes(graph);
  result.bytes = constant_bytes(result.graph);
  return result;
}

}  // namespace ounce::quantize
