#pragma once

#include <string_view>

#include "quantize/plan/plan.h"

namespace ounce::quantize::testing {

/// A prepared graph and its executable plan, with look-ups by name.
struct Planned {
  Graph graph;
  Plan plan;

  const GridPlan* grid(std::string_view value) const;
  const BinarizerPlan* binarizer(std::string_view value) const;
  const LayerPlan* layer(std::string_view node) const;
  const KeptFloat* kept(std::string_view node) const;
};

Planned planned(const Graph& source, const Options& options = {});

/// Nodes planned on integers that the engine would run in float all the same, with its reason.
std::vector<std::string> simulated_only(const Planned& planned);

}  // namespace ounce::quantize::testing
