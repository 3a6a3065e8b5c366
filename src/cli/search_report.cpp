#include "cli/search_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/search_options.h"
#include "report/format.h"
#include "report/table.h"

namespace ounce::cli {
namespace {

using namespace quantize::search;

/// Lines of the table of what was bought; the page has all.
constexpr size_t kShownRaises = 10;

report::SearchPoint point_of(const State& state, const Trial& trial) {
  report::SearchPoint point;
  point.kind = trial.kind;
  point.settings = summary_of(state.units, trial.assignment);
  point.metric = trial.verdict.metric;
  point.drop = trial.verdict.drop;
  point.ms = trial.verdict.ms;
  point.bytes = trial.verdict.bytes;
  return point;
}

std::string drop_text(double drop) {
  return fmt::format("{:+.2f}", 0.0 - drop);  // no -0.00
}

}  // namespace

report::Search search_of(const State& state, const Trial& best, const SearchOptions& options,
                         const SearchData& data, bool complete) {
  report::Search search;
  search.goal = goal_text(options.goal, data.metric());
  search.metric = data.metric();
  search.data = data.text();
  search.by_size = options.goal.cost == Cost::kBytes;
  search.met = options.goal.is_met(best.verdict);
  search.complete = complete;
  report::SearchPoint exact;
  exact.kind = "float";
  exact.settings = "float";
  exact.metric = state.exact.metric;
  exact.ms = state.exact.ms;
  exact.bytes = state.exact.bytes;
  search.points.push_back(exact);
  std::vector<Assignment> front;
  for (Trial& trial : pareto_front(state, options.goal.cost)) {
    front.push_back(std::move(trial.assignment));
  }
  for (const Trial& trial : state.trials) {
    report::SearchPoint point = point_of(state, trial);
    point.best = trial.assignment == best.assignment;
    point.front = std::find(front.begin(), front.end(), trial.assignment) != front.end();
    search.points.push_back(std::move(point));
  }
  for (const Bought& one :
       bought(state.units, best.assignment, options.goal.cost, options.allow_float)) {
    search.raised.push_back(
        {one.unit, one.op, name_of(one.from), name_of(one.to), one.loss, one.ms, one.bytes});
  }
  return search;
}

std::string trial_text(const State& state, const Trial& trial) {
  return fmt::format("{:.2f} % ({} points), {}, {:.2f} ms: {}", 100.0 * trial.verdict.metric,
                     drop_text(trial.verdict.drop), report::bytes_text(trial.verdict.bytes),
                     trial.verdict.ms, summary_of(state.units, trial.assignment));
}

std::string search_text(const report::Search& search) {
  using Align = report::Table::Align;
  std::vector<const report::SearchPoint*> shown;
  for (const report::SearchPoint& point : search.points) {
    const bool reference = point.kind == "float" || point.kind.starts_with("uniform");
    if (reference || point.front || point.best) shown.push_back(&point);
  }
  std::stable_sort(shown.begin(), shown.end(), [&](const auto* a, const auto* b) {
    return search.by_size ? a->bytes > b->bytes : a->ms > b->ms;
  });
  report::Table table({{"model", Align::left},
                       {search.metric, Align::right},
                       {"points", Align::right},
                       {"size", Align::right},
                       {"latency", Align::right},
                       {"layers", Align::left}});
  for (const report::SearchPoint* point : shown) {
    table.add_row({(point->best ? "* " : "  ") + point->kind,
                   report::metric_text(point->metric, "%"), drop_text(point->drop),
                   report::bytes_text(point->bytes), fmt::format("{:.2f} ms", point->ms),
                   point->settings});
  }
  std::string text = table.text();
  if (search.raised.empty()) return text;
  report::Table raised({{"what each raised layer bought", Align::left},
                        {"from", Align::left},
                        {"to", Align::left},
                        {"loss less", Align::right},
                        {"ms more", Align::right},
                        {"bytes more", Align::right}});
  for (size_t i = 0; i < std::min(search.raised.size(), kShownRaises); ++i) {
    const report::RaisedLayer& one = search.raised[i];
    raised.add_row({report::printable(one.name), one.from, one.to, fmt::format("{:.5f}", one.loss),
                    fmt::format("{:+.4f}", one.ms), fmt::format("{:+d}", one.bytes)});
  }
  text += "\n" + raised.text();
  if (search.raised.size() > kShownRaises) {
    text += fmt::format("and {} more in the report\n", search.raised.size() - kShownRaises);
  }
  return text;
}

}  // namespace ounce::cli
