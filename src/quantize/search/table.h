#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quantize/search/setting.h"

namespace ounce::quantize::search {

/// One setting of a unit, with what it costs and what it loses.
struct Choice {
  Setting setting;
  int64_t bytes = 0;  // constants of the unit's layers, scales and biases included
  double ms = 0.0;    // median time of the unit's work on this machine
  /// Divergence of the network's outputs with this unit so and everything else in float (see
  /// divergence.h), mean over `runs` inputs; 0 for float, nothing while it was not measured.
  std::optional<double> loss;
  int64_t runs = 0;
};

/// Layers that share one setting because the engine computes them in one piece.
struct Unit {
  std::string name;  // of its first layer
  std::string op;
  std::vector<std::string> layers;
  std::vector<bool> has_weights;  // by layer; false: product of two activations
  int64_t parameters = 0;
  std::vector<Choice> choices;  // float first
};

/// Index of the choice of each unit.
using Assignment = std::vector<size_t>;

enum class Cost { kLatency, kBytes };

/// ms or bytes.
double cost_of(const Choice& choice, Cost cost);
double cost_of(const std::vector<Unit>& units, const Assignment& assignment, Cost cost);
/// `cost_of` by unit and choice.
std::vector<std::vector<double>> costs_of(const std::vector<Unit>& units, Cost cost);

/// Losses by unit and choice. What was not measured (a search that ran out of time) counts as the
/// median of the measured ones of its setting, and as infinite where there are none.
std::vector<std::vector<double>> losses_of(const std::vector<Unit>& units);

/// By unit and choice: whether it is worth looking at. Not worth it is a choice beside which
/// another one has all of its bits and costs no more; times within 5 % of each other, or within a
/// thousandth of the network's, count as equal. Without `allow_float` float is as if it were not
/// there.
std::vector<std::vector<bool>> worthwhile(const std::vector<Unit>& units, Cost cost,
                                          bool allow_float = true);

/// The choice with this setting, else the one that covers it with the fewest bits (float always
/// does).
size_t choice_for(const Unit& unit, const Setting& setting);

/// "W8A8 x 30, W4A8 x 20, float x 2", the most frequent first.
std::string summary_of(const std::vector<Unit>& units, const Assignment& assignment);

/// Bits of weights, mean over the parameters of all units.
double mean_weight_bits(const std::vector<Unit>& units, const Assignment& assignment);

}  // namespace ounce::quantize::search
