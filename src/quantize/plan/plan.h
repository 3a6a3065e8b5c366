#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/node_kind.h"
#include "quantize/options.h"

namespace ounce::quantize {

/// One activation quantizer: the values that share its grid. Values joined by operators that only
/// move codes (Concat, MaxPool, Reshape, ...) must share one.
struct GridPlan {
  std::vector<ValueId> values;   // in order of computation
  std::vector<ValueId> sources;  // those of `values` that are computed, not moved: what is observed
  int bits = 8;
  bool ternary = false;  // levels -s, 0, s: where all layers that read it ask for that
  RangeRule range = RangeRule::kMse;
  double percentile = 99.99;
  std::optional<LowerBound> lower_bound;
  /// The value only indexes tables: the node whose function the first of them holds, or -1. Such a
  /// grid is always searched for the least error behind the table, whatever the rule.
  int table = -1;
};

/// One Binarize node: a value that layers with 1-bit activations read as its signs, or, where it
/// cannot be negative, as 0 and 1, times a scale.
struct BinarizerPlan {
  ValueId value = kNoValue;
  bool is_unsigned = false;
};

/// One convolution or matrix product that gets integer operands.
struct LayerPlan {
  int node = -1;
  LayerSettings settings;
  std::optional<ProductWeights> weights;  // nullopt: both operands are activations
  bool weight_only = false;
  bool is_end = false;  // a first or last layer that keeps 8 bits where it would have fewer
  /// Bits of the logarithmic codes of its left operand, a softmax map; 0: the map is on a grid.
  int map_bits = 0;

  /// Its activations are binarized. Such a layer takes part in no grid: it reads signs through
  /// Binarize and gives floats.
  bool reads_signs() const { return !weight_only && settings.activation_bits == 1; }
  /// Its activations are codes of a grid that is made while the model runs. Such a layer takes part
  /// in no grid either: it reads floats through DynamicFakeQuant and gives floats.
  bool reads_dynamic_grid() const {
    return !weight_only && !reads_signs() &&
           settings.activation_grid != ActivationGrid::kCalibrated;
  }
  /// Its activations are codes of a calibrated grid.
  bool reads_grid() const {
    return !weight_only && !reads_signs() &&
           settings.activation_grid == ActivationGrid::kCalibrated;
  }
};

/// A node that stays in float, and why.
struct KeptFloat {
  std::string node;
  std::string op;
  std::string reason;
  bool operator==(const KeptFloat&) const = default;
};

/// What is quantized how, in terms of the ids of the graph it was made for.
struct Plan {
  std::vector<GridPlan> grids;
  std::vector<BinarizerPlan> binarizers;  // one a value
  std::vector<LayerPlan> layers;
  std::vector<ValueId> embeddings;  // f32 constants that are stored with 8 bits, one scale a row
  std::vector<KeptFloat> kept_float;
  SoftmaxCodes softmax = SoftmaxCodes::kUniform;  // of the layers that have map_bits
  std::vector<int> grid_of;                       // by ValueId, -1: none
  std::vector<bool> on_integers;  // by node: reads codes of its inputs that have a grid

  /// Whether operand `value` of `node` is read through Q -> DQ. A value that integer work makes is
  /// read so by everybody; one that float work makes, only by integer nodes.
  bool reads_codes(const GraphIndex& index, int node, ValueId value) const {
    if (value == kNoValue || grid_of[static_cast<size_t>(value)] < 0) return false;
    const int producer = index.producer(value);
    return on_integers[static_cast<size_t>(node)] ||
           (producer >= 0 && on_integers[static_cast<size_t>(producer)]);
  }
};

/// Nodes that may not become integer, by name, with the reason.
using Exclusions = std::map<std::string, std::string>;

/// Makes the graph ready to be planned: passes that change what is quantized (batch norm folding,
/// activation fusion, constant folding), attention left as plain matrix products; with activations
/// of fewer than 8 bits, tensors that are added as well as multiplied are read by their layers
/// through an Identity, so that the sum keeps 8 bits; with 1-bit activations convolutions take over
/// the zeros that a Pad before them adds, which have no sign.
Graph prepare(const Graph& graph, const Options& options);

/// Decides for a prepared graph. Demand drives it: inputs of quantized layers want codes, and what
/// computes these can often hand codes on (tables, additions, pools); everything that no layer asks
/// for stays in float: softmax, normalisations, transformer residuals, the tail that decodes boxes.
Plan make_plan(const Graph& graph, const Options& options, const Exclusions& exclusions = {});

/// `make_plan`, then removes whatever the engine says it cannot run on integers, until nothing
/// planned is simulation only. `input_shapes`: of a typical run.
Plan make_executable_plan(const Graph& graph, const Options& options,
                          const std::vector<Shape>& input_shapes, Exclusions exclusions = {});

/// The plan as text for people: one line a layer, one a grid, one a binarized value, one a node
/// kept in float, then what is known of the network's family (plan_notes.h).
std::string to_text(const Graph& graph, const Plan& plan);

}  // namespace ounce::quantize
