#pragma once

#include <vector>

#include "quantize/search/table.h"

namespace ounce::quantize::search {

/// One step along the curve: one unit gets a dearer choice that loses less.
struct Raise {
  size_t unit = 0;
  size_t from = 0;
  size_t to = 0;
  double loss_gained = 0.0;  // > 0: what the unit loses less
  double cost_paid = 0.0;    // > 0: what the unit costs more
};

/// Assignments from the cheapest to the one that loses least, nested: each differs from the one
/// before by one raise. Raises stand in the order of what they gain for what they cost.
struct Curve {
  Assignment cheapest;
  std::vector<Raise> raises;

  size_t size() const { return raises.size() + 1; }
  /// The assignment after the first `count` raises.
  Assignment at(size_t count) const;
};

/// The lower convex hull of all assignments, were losses of units to add up: no assignment that
/// costs as little as one of the curve loses less (each is the optimum of loss + lambda * cost for
/// some lambda). Costs and losses stand by unit and choice; losses may be infinite; choices that
/// are not `allowed` are passed over, but a unit with none keeps choice 0. The same input gives the
/// same curve.
Curve make_curve(const std::vector<std::vector<double>>& costs,
                 const std::vector<std::vector<double>>& losses,
                 const std::vector<std::vector<bool>>& allowed);

}  // namespace ounce::quantize::search
