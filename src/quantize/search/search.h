#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "quantize/search/allocation.h"
#include "quantize/search/state.h"
#include "quantize/source.h"

namespace ounce::quantize::search {

/// What a search is for.
struct Goal {
  enum class Kind {
    kMaxDrop,  // least cost with a drop of at most `limit` points
    kBudget,   // least drop with a cost of at most `limit`
  };
  Kind kind = Kind::kMaxDrop;
  Cost cost = Cost::kLatency;
  double limit = 1.0;  // points; ms or bytes of the .ounce file

  /// Whether a measured model is what was asked for.
  bool is_met(const Verdict& verdict) const;
};

/// "max-drop 1 for latency", "bytes 3000000"
std::string name_of(const Goal& goal);

/// ms or bytes.
double cost_of(const Verdict& verdict, Cost cost);

/// How a search measures. Everything may throw `Interrupted`, and is asked for a thing once.
struct Instruments {
  /// Mean divergence of the network with one unit at a choice, over so many inputs.
  std::function<double(const Unit& unit, const Setting& setting, int64_t runs)> loss;
  /// Quantizes the whole network so and measures it.
  std::function<Verdict(const Assignment& assignment)> judge;
  /// The trial judged last is the best so far: to be kept where nothing can take it away.
  std::function<void(const Trial& trial)> keep;
  /// The state has changed.
  std::function<void()> save;
  /// Seconds since this search began or went on.
  std::function<double()> seconds;
};

struct SearchOptions {
  Goal goal;
  bool allow_float = true;    // as a setting of layers that have another one
  double time_limit = 600.0;  // seconds; 0: until nothing is left to try
  /// Points that the drop of nearly equal models may differ by: a share of few judged inputs is no
  /// smooth function. Places along the curve are given up only where the drop is that much too
  /// large.
  double noise = 0.0;
  /// Inputs that sensitivities are measured on: a few first, so that a search that runs out of time
  /// knows something of every layer.
  int64_t first_runs = 4;
  int64_t runs = 32;
  /// Single changes that may fail one after the other before the search is content.
  int patience = 12;
};

/// Why a search came to its end.
enum class Ending {
  kDone,       // nothing promising is left
  kOutOfTime,  // going on may find more
};

struct Outcome {
  Trial best;
  bool met = false;
  Ending ending = Ending::kDone;
};

/// One step up from the cheapest setting of a unit to that of an assignment.
struct Bought {
  std::string unit;
  std::string op;
  Setting from;
  Setting to;
  double loss = 0.0;  // taken away, by its own sensitivity; what was not measured counts as nothing
  double ms = 0.0;    // paid
  int64_t bytes = 0;  // paid
};

/// Finds bits: uniform settings for reference, the loss of each unit at each setting, the curve of
/// nested assignments these make, the place on it where the measured model meets the goal, and from
/// there single changes while there is time. Deterministic: equal answers of the instruments give
/// equal answers, at whatever point an earlier search on the same `state` ended.
class Search {
 public:
  /// `state` has its units with costs; trials and losses in it are taken as measured.
  Search(State& state, SearchOptions options, Instruments instruments, Progress progress);

  /// Throws `Error` when there is nothing to choose from; `Interrupted` when asked to stop, with
  /// all that was measured in the state and the best so far kept.
  Outcome run();

  /// How many losses and, at most, trials before refinement a search still has to measure.
  struct Work {
    int64_t losses = 0;
    int64_t trials = 0;
  };
  Work work_left() const;

  /// The best of the trials so far.
  const std::optional<Trial>& best() const { return best_; }

 private:
  /// A change of one or two units, with what the table says of it.
  struct Move {
    size_t units[2] = {0, 0};
    size_t to[2] = {0, 0};
    int count = 1;
    double loss = 0.0;  // added
    double cost = 0.0;  // added
  };

  void try_uniform();
  void measure_losses();
  void measure_losses(int64_t runs, double until);
  void walk_curve();
  size_t border_of(const Curve& curve);
  size_t predicted_place(const Curve& curve) const;
  int failures() const;
  void refine();
  std::vector<Move> moves_from(const Assignment& assignment) const;
  bool is_promising(const Move& move) const;
  Assignment after(const Assignment& assignment, const Move& move) const;

  const Trial& try_out(const Assignment& assignment, const std::string& kind);
  bool is_better(const Trial& a, const Trial& b) const;
  bool out_of_time(double share = 1.0) const;
  void report(const std::string& stage, int64_t done, int64_t total) const;

  State& state_;
  SearchOptions options_;
  Instruments instruments_;
  Progress progress_;
  std::vector<std::vector<bool>> worthwhile_;  // by unit and choice
  std::vector<std::vector<double>> losses_;
  std::optional<Trial> best_;
  bool stopped_ = false;      // by the time limit
  double slowest_trial_ = 0;  // seconds
};

/// What each unit of `assignment` that is not at its cheapest worthwhile setting bought, the best
/// bargain first.
std::vector<Bought> bought(const std::vector<Unit>& units, const Assignment& assignment, Cost cost,
                           bool allow_float = true);

/// The trials that no other one beats in both drop and cost, cheapest first.
std::vector<Trial> pareto_front(const State& state, Cost cost);

}  // namespace ounce::quantize::search
