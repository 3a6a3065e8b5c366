#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "engine/plan/step.h"

namespace ounce::engine {

/// One way to run a node.
struct KernelCandidate {
  std::string_view kernel;  // what its step's kernel() says
  std::function<std::unique_ptr<Step>()> make;
};

/// The candidate that is fastest for this node on this machine: the one that the request's hints
/// name, else the one with the least time of a few runs on inputs of zeros. What was measured joins
/// the hints under a signature of operator, shapes, element types, threads and instruction set, so
/// that equal layers are measured once. Where times hardly differ, the earlier candidate: the one
/// that needs less memory stands first. With one candidate, that one. All candidates must compute
/// the same results.
std::unique_ptr<Step> fastest(const StepRequest& request,
                              std::span<const KernelCandidate> candidates);

}  // namespace ounce::engine
