#pragma once

#include "quantize/plan/plan.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// What is left of a plan when its noisy pieces are settled.
struct Guarded {
  Options options;  // with an override for each layer that got a grid a token
  Exclusions exclusions;
  Plan plan;
};

/// Settles the pieces of a plan that keep fewer than `options.least_db_per_bit` of signal to noise,
/// each judged by itself on a few runs. A linear layer, or those that read a noisy tensor, first
/// get grids that are made while the model runs, one a token (`ActivationGrid::kDynamicToken`): one
/// token with an outlier then spoils no other, and products stay products of integers. What is too
/// noisy still, and everything that has no such grids, stays in float. Overrides of `activations`
/// and `dynamic` are left alone.
Guarded guard_plan(const Graph& prepared, const Options& options, const std::vector<Shape>& shapes,
                   InputSource& source, const Progress& progress);

}  // namespace ounce::quantize
