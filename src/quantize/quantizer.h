#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/calibrate.h"
#include "quantize/calibration_cache.h"
#include "quantize/insert_qdq.h"
#include "quantize/latency.h"
#include "quantize/plan/plan.h"
#include "quantize/source.h"
#include "quantize/transforms/transform.h"

namespace ounce::quantize {

/// What was done to one convolution or matrix product.
struct LayerRecord {
  std::string node;
  std::string op;
  int weight_bits = 0;               // 0: product of two activations
  bool ternary = false;              // the 2 bits of the weights hold -1, 0, 1
  int activation_bits = 0;           // 0: activations stay float (weight-only)
  bool ternary_activations = false;  // their 2 bits hold -1, 0, 1
  bool is_end = false;      // a first or last layer that keeps 8 bits where it would have fewer
  bool is_widened = false;  // the guard gave it 8 bits because fewer were too noisy
  std::string granularity;  // "tensor", "channel", "group"
  std::string weight_rule;
  int64_t parameters = 0;
  double weight_sqnr_db = 0.0;  // of the weights alone
  std::string input;            // name of the value it reads
};

/// What was chosen for one activation quantizer: a grid, or a binarizer (1 bit).
struct GridRecord {
  std::string value;  // the first on the grid
  std::vector<std::string> values;
  int bits = 8;
  bool ternary = false;  // the 2 bits hold -1, 0, 1
  std::string rule;      // of a binarizer "signs" or "zero-one"
  float scale = 1.0F;
  int32_t zero_point = 0;
  Range chosen;
  Range data;
  double sqnr_db = 0.0;  // of the calibration data on the grid
};

struct QuantizeResult {
  Graph graph;     // Q/DQ
  Graph prepared;  // the float graph it was made from: same value names, for `compare`
  std::vector<LayerRecord> layers;
  std::vector<GridRecord> grids;
  std::vector<KeptFloat> kept_float;
  std::vector<TransformRecord> transforms;
  std::vector<std::string> embeddings;       // constants that are stored with 8 bits
  std::optional<LatencyComparison> latency;  // when drop_slow_layers was set
  int64_t calibration_runs = 0;
  int64_t float_bytes = 0;  // constants of the float graph
  int64_t bytes = 0;        // constants of the quantized graph
};

/// What a program with gradients adds to a calibration; either may be empty.
struct Refinement {
  using Weigh = std::function<void(const Graph& prepared, const Plan& plan, InputSource& source,
                                   const Progress& progress, Observations& observations)>;
  using Round = std::function<void(const Graph& prepared, const Plan& plan, InputSource& source,
                                   const Progress& progress, Calibration& calibration)>;
  /// Makes what was seen of grids count otherwise, before their ranges are chosen.
  Weigh weigh;
  /// Improves a finished calibration: codes, scales, biases; what is planned stays.
  Round round;
};

/// From a float model to a Q/DQ model that the engine runs on integers:
/// prepare -> plan -> executability check -> calibrate -> weights -> insert [-> time, keep slow
/// layers in float, again]. Throws `Error` on NaN (naming the tensor), on empty data, on impossible
/// options; `Interrupted` when asked to stop.
/// `refine.round` comes before biases are corrected. `cache`, when given, must always see the same
/// float network and data; it is left alone where it cannot serve.
QuantizeResult quantize(const Graph& graph, const Options& options, InputSource& source,
                        const Progress& progress = {}, const Refinement& refine = {},
                        CalibrationCache* cache = nullptr);

/// The numbers of a plan: ranges, codes, scales, biases, as `quantize` chooses them.
Calibrated calibrate(const Graph& prepared, const Plan& plan, const Options& options,
                     InputSource& source, const Progress& progress = {},
                     const Refinement& refine = {}, CalibrationCache* cache = nullptr);

/// What `quantize` would do, without looking at data (`--dry-run`): the prepared graph and its
/// plan.
struct DryRun {
  Graph prepared;
  Plan plan;
  int64_t calibration_bytes = 0;
};
/// `input_shapes` may be empty: then those of the graph, with 1 for what is open.
DryRun dry_run(const Graph& graph, const Options& options, std::vector<Shape> input_shapes = {});

/// What the plan says of each layer; nothing that depends on the numbers.
std::vector<LayerRecord> planned_layers(const Graph& prepared, const Plan& plan);

/// Quantizes the weights and biases of all planned layers.
std::vector<QuantizedLayer> quantize_layers(const Graph& prepared, const Plan& plan,
                                            const std::vector<QuantParams>& grids);

/// Gives a layer of the plan, which has a place for one, a bias: in steps of its accumulator where
/// it works on integers.
void set_bias(const Graph& prepared, const Plan& plan, size_t layer, const std::vector<float>& bias,
              Calibration& calibration);

/// Subtracts from each layer's bias the mean error of its outputs (`mean_layer_errors`). A
/// convolution without a bias gets one; a MatMul without one is left alone.
void correct_biases(const Graph& prepared, const Plan& plan,
                    const std::vector<std::vector<float>>& mean_errors, Calibration& calibration);

/// Bytes of all constants of a graph.
int64_t constant_bytes(const Graph& graph);

}  // namespace ounce::quantize
