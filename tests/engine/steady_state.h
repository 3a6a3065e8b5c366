#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/session.h"
#include "tests/engine/allocation_counter.h"

namespace ounce::testing {

/// Operators that the plan leaves to the reference, which may allocate.
inline std::set<std::string> reference_operators(const Graph& graph,
                                                 const std::vector<Tensor>& inputs) {
  engine::SessionOptions options;
  options.profile = true;
  engine::Session session(graph, options);
  session.run(inputs);
  std::set<std::string> operators;
  for (const engine::StepProfile& step : session.profile()) {
    if (step.kernel.starts_with("reference")) operators.insert(step.op);
  }
  return operators;
}

/// Heap allocations of the third run of a session into the outputs of the first.
inline int64_t steady_state_allocations(const Graph& graph, const std::vector<Tensor>& inputs,
                                        int threads) {
  engine::SessionOptions options;
  options.threads = threads;
  engine::Session session(graph, options);
  std::vector<Tensor> outputs = session.run(inputs);
  session.run_into(inputs, outputs);
  const AllocationCounter counter;
  session.run_into(inputs, outputs);
  return counter.count();
}

}  // namespace ounce::testing
