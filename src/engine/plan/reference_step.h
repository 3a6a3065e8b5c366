#pragma once

#include <memory>

#include "engine/plan/step.h"

namespace ounce::engine {

/// A step that runs the reference operator on windows of the arena. Throws `Error` when there is no
/// such operator.
std::unique_ptr<Step> make_reference_step(const StepRequest& request);

/// Multiply-accumulates of a (lowered) node, 0 for nodes that do not multiply.
int64_t step_macs(const Graph& graph, const Node& node);

}  // namespace ounce::engine
