#include "quantize/analysis/grid_losses.h"

#include "engine/session.h"
#include "quantize/analysis/divergence.h"
#include "quantize/insert_qdq.h"

namespace ounce::quantize {
namespace {

/// The float network with one grid of the plan in it.
Graph with_grid(const Graph& prepared, const Plan& plan, size_t grid, const QuantParams& params) {
  Plan part;
  part.on_integers = plan.on_integers;  // who reads codes
  part.grid_of.assign(plan.grid_of.size(), -1);
  // What only moves these values moves what they are rounded to.
  GridPlan& own = part.grids.emplace_back(plan.grids[grid]);
  own.values = own.sources;
  for (const ValueId value : own.sources) part.grid_of[static_cast<size_t>(value)] = 0;
  Calibration calibration;
  calibration.grids = {params};
  return insert_qdq(prepared, part, calibration);
}

engine::Session session_for(const Graph& graph, int threads) {
  engine::SessionOptions options;
  options.threads = threads;
  return engine::Session(graph, options);
}

}  // namespace

GridLosses::GridLosses(const Graph& prepared, const Plan& plan,
                       std::vector<std::vector<Tensor>> inputs, int threads)
    : prepared_(prepared), plan_(plan), inputs_(std::move(inputs)), threads_(threads) {
  engine::Session session = session_for(prepared, threads);
  for (const std::vector<Tensor>& run : inputs_) exact_.push_back(session.run(run));
}

double GridLosses::loss(size_t grid, const QuantParams& params) const {
  engine::Session session = session_for(with_grid(prepared_, plan_, grid, params), threads_);
  double sum = 0.0;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    sum += divergence(exact_[i], session.run(inputs_[i]));
  }
  return sum / static_cast<double>(inputs_.size());
}

}  // namespace ounce::quantize
