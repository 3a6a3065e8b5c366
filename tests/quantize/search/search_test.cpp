// The search over tables whose real answers are known, with instruments that count and break off.
#include "quantize/search/search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "graph/error.h"
#include "tests/quantize/search/tables.h"

namespace ounce::quantize::search {
namespace {

/// A network whose drop is a curved function of what its units lose, with a little that does not
/// add up, as in real ones.
class Simulated {
 public:
  explicit Simulated(std::vector<Unit> truth) : truth_(std::move(truth)) {
    state.units = truth_;
    for (Unit& unit : state.units) {
      for (Choice& choice : unit.choices) {
        if (!choice.setting.is_float()) choice.loss.reset();
        choice.runs = 0;
      }
    }
  }

  Outcome run(const Goal& goal, double time_limit = 0.0, bool allow_float = true) {
    SearchOptions options;
    options.noise = jitter;
    options.goal = goal;
    options.time_limit = time_limit;
    options.allow_float = allow_float;
    Instruments instruments;
    instruments.loss = [this](const Unit& unit, const Setting& setting, int64_t) {
      count();
      ++losses;
      for (const Unit& one : truth_) {
        if (one.name != unit.name) continue;
        for (const Choice& choice : one.choices) {
          if (choice.setting == setting) return *choice.loss;
        }
      }
      throw Error("no such unit");
    };
    instruments.judge = [this](const Assignment& assignment) {
      count();
      ++trials;
      return verdict(assignment);
    };
    instruments.keep = [this](const Trial& trial) { kept.push_back(trial); };
    instruments.save = [] {};
    instruments.seconds = [this] { return static_cast<double>(losses + trials); };
    return Search(state, options, instruments, {}).run();
  }

  Verdict verdict(const Assignment& assignment) const {
    Verdict verdict;
    for (size_t u = 0; u < truth_.size(); ++u) {
      verdict.loss += *truth_[u].choices[assignment[u]].loss;
      if (u > 0 && assignment[u] > 1 && assignment[u - 1] > 1) verdict.loss += 1e-3;
    }
    verdict.drop = 10.0 * verdict.loss * verdict.loss + verdict.loss;
    // Some models are lucky and some are not.
    size_t hash = 7;
    for (const size_t choice : assignment) hash = hash * 31 + choice;
    verdict.drop += jitter * (static_cast<double>(hash % 101) / 50.0 - 1.0);
    verdict.metric = 0.8 - verdict.drop / 100.0;
    verdict.bytes = 500 + static_cast<int64_t>(cost_of(truth_, assignment, Cost::kBytes));
    verdict.ms = 1.0 + cost_of(truth_, assignment, Cost::kLatency);
    return verdict;
  }

  State state;
  std::vector<Trial> kept;
  int losses = 0;
  int trials = 0;
  double jitter = 0.0;  // points that drops are off by, at most
  int stop_after = -1;  // measurements; < 0: never

 private:
  void count() const {
    if (stop_after >= 0 && losses + trials >= stop_after) throw Interrupted();
  }

  std::vector<Unit> truth_;
};

Goal drop_goal(double limit, Cost cost = Cost::kBytes) {
  return {Goal::Kind::kMaxDrop, cost, limit};
}

TEST(Search, ComesCloseToTheBestThereIs) {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    const std::vector<Unit> units = ounce::quantize::search::testing::random_units(6, 4, seed);
    Simulated network(units);
    const Outcome outcome = network.run(drop_goal(1.0));
    EXPECT_TRUE(outcome.met);
    EXPECT_EQ(outcome.ending, Ending::kDone);
    EXPECT_LE(outcome.best.verdict.drop, 1.0);
    double least = INFINITY;
    Assignment assignment(units.size(), 0);
    while (true) {
      const Verdict verdict = network.verdict(assignment);
      if (verdict.drop <= 1.0) least = std::min(least, static_cast<double>(verdict.bytes));
      size_t u = 0;
      while (u < units.size() && ++assignment[u] == 4) assignment[u++] = 0;
      if (u == units.size()) break;
    }
    EXPECT_LE(static_cast<double>(outcome.best.verdict.bytes), 1.01 * least) << "seed " << seed;
  }
}

TEST(Search, IsNotLedAstrayByTheNoiseOfTheMetric) {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    const std::vector<Unit> units = ounce::quantize::search::testing::random_units(40, 5, seed);
    Simulated exact(units);
    const Outcome expected = exact.run(drop_goal(1.0));
    Simulated noisy(units);
    noisy.jitter = 0.5;
    const Outcome outcome = noisy.run(drop_goal(1.0));
    EXPECT_TRUE(outcome.met);
    EXPECT_LE(static_cast<double>(outcome.best.verdict.bytes),
              1.1 * static_cast<double>(expected.best.verdict.bytes))
        << "seed " << seed;
  }
}

TEST(Search, KeepsABudgetAtTheLeastDrop) {
  for (const Cost cost : {Cost::kBytes, Cost::kLatency}) {
    Simulated network(ounce::quantize::search::testing::random_units(30, 5, 3));
    const Verdict most = network.verdict(Assignment(30, 0));
    const Verdict least = network.verdict(Assignment(30, 4));
    const double limit = 0.5 * (cost_of(most, cost) + cost_of(least, cost));
    const Outcome outcome = network.run({Goal::Kind::kBudget, cost, limit});
    EXPECT_TRUE(outcome.met);
    EXPECT_LE(cost_of(outcome.best.verdict, cost), limit);
    EXPECT_GT(cost_of(outcome.best.verdict, cost), 0.98 * limit);  // and uses it
  }
}

TEST(Search, BrokenOffAnywhereItGoesOnToTheSameAnswer) {
  const std::vector<Unit> units = ounce::quantize::search::testing::random_units(8, 4, 5);
  Simulated unbroken(units);
  const Outcome expected = unbroken.run(drop_goal(1.0));
  const int measurements = unbroken.losses + unbroken.trials;
  for (int stop = 0; stop < measurements; stop += 3) {
    Simulated broken(units);
    broken.stop_after = stop;
    EXPECT_THROW(broken.run(drop_goal(1.0)), Interrupted);
    Simulated resumed(units);
    resumed.state = from_json(to_json(broken.state), "search.json");
    const Outcome outcome = resumed.run(drop_goal(1.0));
    EXPECT_EQ(outcome.best.assignment, expected.best.assignment) << "stopped after " << stop;
    // Nothing is measured twice.
    EXPECT_EQ(broken.losses + broken.trials + resumed.losses + resumed.trials, measurements);
  }
}

TEST(Search, WhatItKeptLastIsTheBest) {
  Simulated network(ounce::quantize::search::testing::random_units(20, 5, 9));
  const Outcome outcome = network.run(drop_goal(0.5));
  ASSERT_FALSE(network.kept.empty());
  EXPECT_EQ(network.kept.back().assignment, outcome.best.assignment);
  // Something was kept with the very first model, long before the goal was met.
  EXPECT_EQ(network.kept.front().assignment, network.state.trials.front().assignment);
}

TEST(Search, MissesAGoalThatNothingMeetsWithTheLeastDrop) {
  Simulated network(ounce::quantize::search::testing::random_units(6, 4, 2));
  const Outcome outcome = network.run(drop_goal(1e-6), 0.0, false);
  EXPECT_FALSE(outcome.met);
  EXPECT_EQ(outcome.ending, Ending::kDone);
  EXPECT_EQ(outcome.best.assignment, Assignment(6, 1));  // 8 bits, float not being allowed
}

TEST(Search, MissesABudgetThatNothingMeetsWithTheLeastCost) {
  Simulated network(ounce::quantize::search::testing::random_units(6, 4, 2));
  const Outcome outcome = network.run({Goal::Kind::kBudget, Cost::kBytes, 10.0});
  EXPECT_FALSE(outcome.met);
  EXPECT_EQ(outcome.best.assignment, Assignment(6, 3));
}

TEST(Search, OutOfTimeItHasTriedSomethingAndSaysSo) {
  Simulated network(ounce::quantize::search::testing::random_units(30, 5, 4));
  const Outcome outcome = network.run(drop_goal(1.0), 3.0);
  EXPECT_EQ(outcome.ending, Ending::kOutOfTime);
  EXPECT_GE(network.trials, 1);
  EXPECT_LE(network.trials + network.losses, 5);
}

TEST(Search, AnotherGoalUsesWhatIsMeasured) {
  Simulated network(ounce::quantize::search::testing::random_units(10, 4, 6));
  network.run(drop_goal(1.0));
  const int losses = network.losses;
  network.run(drop_goal(0.3));
  EXPECT_EQ(network.losses, losses);
}

TEST(Search, NeedsSomethingToChooseFrom) {
  State state;
  EXPECT_THROW(Search(state, {}, {}, {}), Error);
}

TEST(Bought, TellsWhatRaisedLayersCostAndTookAway) {
  const std::vector<Unit> units = ounce::quantize::search::testing::random_units(5, 4, 8);
  const auto list = bought(units, Assignment(5, 1), Cost::kBytes);
  ASSERT_EQ(list.size(), 5U);
  for (size_t i = 0; i < list.size(); ++i) {
    EXPECT_GT(list[i].loss, 0.0);
    EXPECT_GT(list[i].bytes, 0);
    EXPECT_EQ(name_of(list[i].to), "W8A8");
    if (i == 0) continue;
    EXPECT_GE(list[i - 1].loss / static_cast<double>(list[i - 1].bytes),
              list[i].loss / static_cast<double>(list[i].bytes) - 1e-12);
  }
}

TEST(ParetoFront, RisesInCostAndFallsInDrop) {
  Simulated network(ounce::quantize::search::testing::random_units(10, 4, 6));
  network.run(drop_goal(1.0));
  const auto front = pareto_front(network.state, Cost::kBytes);
  ASSERT_FALSE(front.empty());
  for (size_t i = 1; i < front.size(); ++i) {
    EXPECT_GT(front[i].verdict.bytes, front[i - 1].verdict.bytes);
    EXPECT_LT(front[i].verdict.drop, front[i - 1].verdict.drop);
  }
}

TEST(State, RefusesWhatIsNoState) {
  const auto message = [](const std::string& text) -> std::string {
    try {
      from_json(text, "out/search.json");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  Simulated network(ounce::quantize::search::testing::random_units(2, 3, 1));
  network.run(drop_goal(1.0));
  const std::string good = to_json(network.state);
  EXPECT_EQ(message(good), "");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  std::string one_more = good;
  one_more.insert(one_more.rfind("\"choices\": [") + 12, "1,");
  for (const std::string& bad :
       {std::string(), std::string("{}"), std::string("[1, 2"), good.substr(0, good.size() / 2),
        with("\"ounce_search\": 1", "\"ounce_search\": 2"), with("\"W8A8\"", "\"W99\""),
        with("\"layers\": [", "\"layers\": [\"other\","), one_more,
        with("\"kind\": \"", "\"kinds\": \"")}) {
    const std::string text = message(bad);
    EXPECT_NE(text.find("out/search.json"), std::string::npos) << bad.substr(0, 80);
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace ounce::quantize::search
