#include "quantize/search/unit_losses.h"

#include <algorithm>

#include "engine/session.h"
#include "quantize/analysis/divergence.h"

namespace ounce::quantize::search {
namespace {

engine::SessionOptions session_options(int threads) {
  engine::SessionOptions options;
  options.threads = threads;
  return options;
}

}  // namespace

UnitLosses::UnitLosses(Workbench& workbench, std::vector<std::vector<Tensor>> inputs, int threads,
                       const Progress& progress)
    : workbench_(workbench), inputs_(std::move(inputs)), threads_(threads) {
  engine::Session session(workbench.prepared(), session_options(threads));
  for (const std::vector<Tensor>& run : inputs_) {
    progress.step("float outputs", static_cast<int64_t>(exact_.size()), runs());
    exact_.push_back(session.run(run));
  }
}

double UnitLosses::loss(const Unit& unit, const Setting& setting, int64_t runs,
                        const Progress& progress) {
  const Graph graph = workbench_.alone(unit.layers, setting, progress);
  engine::Session session(graph, session_options(threads_));
  const auto count = static_cast<size_t>(std::min(runs, this->runs()));
  double sum = 0.0;
  for (size_t i = 0; i < count; ++i) {
    if (progress.interrupted && progress.interrupted()) throw Interrupted();
    sum += divergence(exact_[i], session.run(inputs_[i]));
  }
  return sum / static_cast<double>(count);
}

}  // namespace ounce::quantize::search
