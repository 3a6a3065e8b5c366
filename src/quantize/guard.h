#pragma once

#include <set>
#include <string>

#include "quantize/plan/plan.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// What is left of a plan when its noisy pieces are settled.
struct Guarded {
  Options options;  // with overrides for layers that got 8 bits or a grid a token
  Exclusions exclusions;
  Plan plan;
  std::set<std::string> widened = {};  // layers that got 8 bits
};

/// Settles the pieces of a plan that keep fewer than `options.least_db_per_bit` of signal to noise,
/// each judged by itself on a few runs, until they keep it or nothing is left to do:
/// 1. Where activations have fewer than 8 bits, the layer that makes a noisy tensor and those that
///    read its codes get 8: models become no larger by that, and hardly slower.
/// 2. Where its weights have fewer, they get 8.
/// 3. A linear layer, or those that read a noisy tensor, get grids that are made while the model
///    runs, one a token (`ActivationGrid::kDynamicToken`): one token with an outlier then spoils no
///    other, and products stay products of integers.
/// 4. What is left stays in float.
/// A piece that needs more bits at all then has to keep what one of 8 bits has to. Overrides of
/// `weights`, `activations` and `dynamic` are left alone.
Guarded guard_plan(const Graph& prepared, const Options& options, const std::vector<Shape>& shapes,
                   InputSource& source, const Progress& progress);

}  // namespace ounce::quantize
