#include "quantize/search/search.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "graph/error.h"

namespace ounce::quantize::search {
namespace {

/// Of the time limit, so much may have gone when the last loss is measured.
constexpr double kShareOfLosses = 0.6;

/// Medians of a few whole runs that differ by less say nothing, on a machine that does other work
/// besides; the sums of the layers, measured in one go, then tell more.
constexpr double kTimerNoise = 0.1;

constexpr const char* kRefined = "refined";

/// Differences of a drop below this are rounding of the figures themselves.
constexpr double kEqualDrops = 1e-9;

}  // namespace

bool Goal::is_met(const Verdict& verdict) const {
  return kind == Kind::kMaxDrop ? verdict.drop <= limit + kEqualDrops
                                : cost_of(verdict, cost) <= limit;
}

std::string name_of(const Goal& goal) {
  char limit[32];
  std::snprintf(limit, sizeof limit, "%g", goal.limit);
  const bool bytes = goal.cost == Cost::kBytes;
  if (goal.kind == Goal::Kind::kBudget) return std::string(bytes ? "bytes " : "ms ") + limit;
  return std::string("max-drop ") + limit + (bytes ? " for size" : " for latency");
}

double cost_of(const Verdict& verdict, Cost cost) {
  return cost == Cost::kLatency ? verdict.ms : static_cast<double>(verdict.bytes);
}

Search::Search(State& state, SearchOptions options, Instruments instruments, Progress progress)
    : state_(state),
      options_(std::move(options)),
      instruments_(std::move(instruments)),
      progress_(std::move(progress)),
      worthwhile_(worthwhile(state.units, options_.goal.cost, options_.allow_float)) {
  if (state.units.empty()) {
    throw Error("no layer has a setting beside float that the engine can run", "search",
                "other bits with --bits");
  }
  for (const Trial& trial : state_.trials) {
    if (!best_ || is_better(trial, *best_)) best_ = trial;
  }
}

Outcome Search::run() {
  try_uniform();
  measure_losses();
  losses_ = losses_of(state_.units);
  if (!stopped_) walk_curve();
  if (!stopped_) refine();
  return {*best_, options_.goal.is_met(best_->verdict),
          stopped_ ? Ending::kOutOfTime : Ending::kDone};
}

bool Search::out_of_time(double share) const {
  return options_.time_limit > 0.0 && instruments_.seconds() > share * options_.time_limit;
}

void Search::report(const std::string& stage, int64_t done, int64_t total) const {
  progress_.step(stage, done, total);
}

bool Search::is_better(const Trial& a, const Trial& b) const {
  const Goal& goal = options_.goal;
  const bool met = goal.is_met(a.verdict);
  if (met != goal.is_met(b.verdict)) return met;
  const double cost_a = cost_of(a.verdict, goal.cost);
  const double cost_b = cost_of(b.verdict, goal.cost);
  const auto drops_less = [&] {
    if (std::abs(a.verdict.drop - b.verdict.drop) > kEqualDrops) {
      return a.verdict.drop < b.verdict.drop;
    }
    return a.verdict.loss < b.verdict.loss;
  };
  if (goal.kind == Goal::Kind::kBudget) return met ? drops_less() : cost_a < cost_b;
  if (!met) return drops_less();
  if (goal.cost == Cost::kBytes) return cost_a != cost_b ? cost_a < cost_b : drops_less();
  if (std::abs(cost_a - cost_b) > kTimerNoise * cost_b) return cost_a < cost_b;
  const double sum_a = cost_of(state_.units, a.assignment, goal.cost);
  const double sum_b = cost_of(state_.units, b.assignment, goal.cost);
  return sum_a != sum_b ? sum_a < sum_b : drops_less();
}

const Trial& Search::try_out(const Assignment& assignment, const std::string& kind) {
  if (const Trial* known = state_.find(assignment)) return *known;
  const double start = instruments_.seconds();
  Trial trial{kind, name_of(options_.goal), assignment, instruments_.judge(assignment)};
  slowest_trial_ = std::max(slowest_trial_, instruments_.seconds() - start);
  state_.trials.push_back(std::move(trial));
  const Trial& last = state_.trials.back();
  // Kept before the state says so: what the state calls the best is then always there.
  if (!best_ || is_better(last, *best_)) {
    best_ = last;
    instruments_.keep(last);
  }
  instruments_.save();
  if (options_.time_limit > 0.0) {
    stopped_ = instruments_.seconds() + slowest_trial_ > options_.time_limit;
  }
  return last;
}

// ---- reference points and losses ---------------------------------------------------------------

namespace {

/// The settings beside float that are worthwhile for some unit, dearest first.
std::vector<Setting> settings_of(const std::vector<Unit>& units,
                                 const std::vector<std::vector<bool>>& worthwhile) {
  std::set<Setting, std::greater<>> settings;
  for (size_t u = 0; u < units.size(); ++u) {
    for (size_t c = 0; c < units[u].choices.size(); ++c) {
      if (worthwhile[u][c]) settings.insert(units[u].choices[c].setting);
    }
  }
  settings.erase(Setting());
  return {settings.begin(), settings.end()};
}

}  // namespace

void Search::try_uniform() {
  const std::vector<Setting> settings = settings_of(state_.units, worthwhile_);
  int64_t done = 0;
  for (const Setting& setting : settings) {
    report("uniform bits", done++, static_cast<int64_t>(settings.size()));
    Assignment assignment;
    for (const Unit& unit : state_.units) assignment.push_back(choice_for(unit, setting));
    try_out(assignment, "uniform " + name_of(setting));
    if (stopped_) return;
  }
}

void Search::measure_losses() {
  // A few inputs for every loss, then the others: out of time, all layers are known alike.
  measure_losses(std::min(options_.first_runs, options_.runs), kShareOfLosses);
  measure_losses(options_.runs, kShareOfLosses);
}

void Search::measure_losses(int64_t runs, double until) {
  const Work work = work_left();
  int64_t done = 0;
  for (size_t u = 0; u < state_.units.size(); ++u) {
    for (size_t c = 0; c < state_.units[u].choices.size(); ++c) {
      Choice& choice = state_.units[u].choices[c];
      if (choice.setting.is_float() || !worthwhile_[u][c] || choice.runs >= runs) continue;
      if (stopped_ || out_of_time(until)) return;
      report(runs < options_.runs ? "sensitivity, first look" : "sensitivity", done++, work.losses);
      choice.loss = instruments_.loss(state_.units[u], choice.setting, runs);
      choice.runs = runs;
    }
    instruments_.save();
  }
}

Search::Work Search::work_left() const {
  Work work;
  for (size_t u = 0; u < state_.units.size(); ++u) {
    for (size_t c = 0; c < state_.units[u].choices.size(); ++c) {
      const Choice& choice = state_.units[u].choices[c];
      if (choice.setting.is_float() || !worthwhile_[u][c]) continue;
      if (choice.runs < options_.runs) ++work.losses;
      ++work.trials;
    }
  }
  // Halving the curve, which has a step for each choice at most, and the uniform ones.
  work.trials = static_cast<int64_t>(std::ceil(std::log2(static_cast<double>(work.trials) + 1.0))) +
                static_cast<int64_t>(settings_of(state_.units, worthwhile_).size());
  return work;
}

// ---- along the curve ---------------------------------------------------------------------------

size_t Search::predicted_place(const Curve& curve) const {
  // A model that was tried tells what everything that is not searched costs, else the float one.
  const Cost cost = options_.goal.cost;
  const Trial exact{"", "", Assignment(state_.units.size(), 0), state_.exact};
  const Trial& known = state_.trials.empty() ? exact : state_.trials.front();
  const double rest = cost_of(known.verdict, cost) - cost_of(state_.units, known.assignment, cost);
  size_t place = 0;
  while (place + 1 < curve.size() &&
         rest + cost_of(state_.units, curve.at(place + 1), cost) <= options_.goal.limit) {
    ++place;
  }
  return place;
}

size_t Search::border_of(const Curve& curve) {
  // Near the predicted place a budget is probed step by step before halving begins.
  constexpr int64_t kSteps = 3;
  const bool budget = options_.goal.kind == Goal::Kind::kBudget;
  Goal lenient = options_.goal;
  if (!budget) lenient.limit += options_.noise;
  // Costs rise and drops fall along the curve: what is sought is the last place within the budget,
  // or the first one whose drop is small enough. It lies in low .. high.
  size_t low = 0;
  size_t high = curve.size();
  bool met = false;
  for (int64_t done = 0; low < high && !stopped_; ++done) {
    const double halvings = std::ceil(std::log2(static_cast<double>(high - low) + 1.0));
    report("curve", done, done + static_cast<int64_t>(halvings));
    size_t probe = low + (high - low) / 2;
    if (budget && done == 0) probe = std::min(predicted_place(curve), high - 1);
    if (budget && done > 0 && done <= kSteps) probe = met ? low : high - 1;
    met = lenient.is_met(try_out(curve.at(probe), "curve").verdict);
    if (met == budget) {
      low = probe + 1;
    } else {
      high = probe;
    }
  }
  return low;
}

void Search::walk_curve() {
  const Curve curve = make_curve(costs_of(state_.units, options_.goal.cost), losses_, worthwhile_);
  size_t place = border_of(curve);
  if (options_.goal.kind == Goal::Kind::kBudget) return;
  // From where the drop may be noise, up to where it is small enough.
  for (size_t step = 1; place < curve.size() && !stopped_; place += step, step *= 2) {
    report("curve", static_cast<int64_t>(place), static_cast<int64_t>(curve.size()));
    if (options_.goal.is_met(try_out(curve.at(place), "curve").verdict)) return;
  }
  if (!stopped_) try_out(curve.at(curve.size() - 1), "curve");
}

// ---- single changes ----------------------------------------------------------------------------

Assignment Search::after(const Assignment& assignment, const Move& move) const {
  Assignment changed = assignment;
  for (int i = 0; i < move.count; ++i) changed[move.units[i]] = move.to[i];
  return changed;
}

std::vector<Search::Move> Search::moves_from(const Assignment& assignment) const {
  std::vector<Move> single;
  for (size_t u = 0; u < state_.units.size(); ++u) {
    const Unit& unit = state_.units[u];
    const size_t now = assignment[u];
    for (size_t c = 0; c < unit.choices.size(); ++c) {
      if (c == now || !worthwhile_[u][c] || !std::isfinite(losses_[u][c])) continue;
      Move move;
      move.units[0] = u;
      move.to[0] = c;
      move.loss = losses_[u][c] - losses_[u][now];
      move.cost = cost_of(unit.choices[c], options_.goal.cost) -
                  cost_of(unit.choices[now], options_.goal.cost);
      single.push_back(move);
    }
  }
  std::vector<Move> moves = single;
  for (const Move& raise : single) {
    if (raise.loss >= 0.0) continue;
    for (const Move& lower : single) {
      if (lower.cost >= 0.0 || lower.units[0] == raise.units[0]) continue;
      Move both = raise;
      both.units[1] = lower.units[0];
      both.to[1] = lower.to[0];
      both.count = 2;
      both.loss += lower.loss;
      both.cost += lower.cost;
      moves.push_back(both);
    }
  }
  return moves;
}

bool Search::is_promising(const Move& move) const {
  const Goal& goal = options_.goal;
  const bool met = goal.is_met(best_->verdict);
  if (goal.kind == Goal::Kind::kMaxDrop) return met ? move.cost < 0.0 : move.loss < 0.0;
  if (!met) return move.cost < 0.0;
  return move.loss < 0.0 && cost_of(best_->verdict, goal.cost) + move.cost <= goal.limit;
}

int Search::failures() const {
  // From the trials alone, so that a search that goes on counts as one that was never stopped.
  int count = 0;
  for (const Trial& trial : state_.trials) {
    if (trial.assignment == best_->assignment) count = 0;
    const bool ours = trial.kind == kRefined && trial.goal == name_of(options_.goal);
    if (ours && trial.assignment != best_->assignment) ++count;
  }
  return count;
}

void Search::refine() {
  const bool budget = options_.goal.kind == Goal::Kind::kBudget;
  while (!stopped_ && failures() < options_.patience) {
    std::vector<Move> moves = moves_from(best_->assignment);
    std::erase_if(moves, [&](const Move& move) {
      return !is_promising(move) || state_.find(after(best_->assignment, move)) != nullptr;
    });
    if (moves.empty()) return;
    // Least harm for what is saved; within a budget, most gain.
    const auto harm = [&](const Move& move) {
      return budget || move.cost >= 0.0 ? move.loss : move.loss / -move.cost;
    };
    const auto next =
        std::min_element(moves.begin(), moves.end(),
                         [&](const Move& a, const Move& b) { return harm(a) < harm(b); });
    report("single changes", failures(), options_.patience);
    try_out(after(best_->assignment, *next), kRefined);
  }
}

// ---- what came of it ---------------------------------------------------------------------------

std::vector<Bought> bought(const std::vector<Unit>& units, const Assignment& assignment, Cost cost,
                           bool allow_float) {
  const auto worth = worthwhile(units, cost, allow_float);
  const auto losses = losses_of(units);
  const Curve curve = make_curve(costs_of(units, cost), losses, worth);
  std::vector<Bought> list;
  for (size_t u = 0; u < units.size(); ++u) {
    const size_t from = curve.cheapest[u];
    const size_t to = assignment[u];
    const Choice& a = units[u].choices[from];
    const Choice& b = units[u].choices[to];
    if (from == to) continue;
    const double loss = losses[u][from] - losses[u][to];
    list.push_back({units[u].name, units[u].op, a.setting, b.setting,
                    std::isfinite(loss) ? loss : 0.0, b.ms - a.ms, b.bytes - a.bytes});
  }
  const auto paid = [&](const Bought& one) {
    return std::max(cost == Cost::kLatency ? one.ms : static_cast<double>(one.bytes), 1e-12);
  };
  std::stable_sort(list.begin(), list.end(), [&](const Bought& a, const Bought& b) {
    return a.loss * paid(b) > b.loss * paid(a);
  });
  return list;
}

std::vector<Trial> pareto_front(const State& state, Cost cost) {
  std::vector<Trial> order = state.trials;
  std::stable_sort(order.begin(), order.end(), [&](const Trial& a, const Trial& b) {
    const double cost_a = cost_of(a.verdict, cost);
    const double cost_b = cost_of(b.verdict, cost);
    return cost_a != cost_b ? cost_a < cost_b : a.verdict.drop < b.verdict.drop;
  });
  std::vector<Trial> front;
  for (Trial& trial : order) {
    if (front.empty() || trial.verdict.drop < front.back().verdict.drop) {
      front.push_back(std::move(trial));
    }
  }
  return front;
}

}  // namespace ounce::quantize::search
