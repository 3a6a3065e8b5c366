#pragma once

#include <string>
#include <vector>

#include "quantize/plan/plan.h"

namespace ounce::quantize {

/// What is known of a family of networks, and what the plan makes of it.
struct PlanNote {
  std::string topic;  // "first layer", "last layer", "residual additions", "softmax maps",
                      // "decoding", "picture"
  std::string text;
};

/// Of a graph and its plan: the first and the last layers with their bits; residual additions, how
/// many on codes and how many in float; the softmax maps of attention and how the products behind
/// them read these; what decodes the outputs behind the last layers (of a detector: boxes, scores);
/// outputs that are pictures (of super-resolution), which are never put on a grid. A family that
/// the graph is not of has no note.
std::vector<PlanNote> plan_notes(const Graph& graph, const Plan& plan);

}  // namespace ounce::quantize
