// The curve of assignments against all assignments there are.
#include "quantize/search/allocation.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <random>

#include "tests/quantize/search/tables.h"

namespace ounce::quantize::search {
namespace {

using testing::random_units;

/// Calls `use` for every assignment.
void for_each_assignment(const std::vector<Unit>& units,
                         const std::function<void(const Assignment&)>& use) {
  Assignment assignment(units.size(), 0);
  while (true) {
    use(assignment);
    size_t u = 0;
    while (u < units.size() && ++assignment[u] == units[u].choices.size()) assignment[u++] = 0;
    if (u == units.size()) return;
  }
}

double loss_of(const std::vector<std::vector<double>>& losses, const Assignment& assignment) {
  double sum = 0.0;
  for (size_t u = 0; u < assignment.size(); ++u) sum += losses[u][assignment[u]];
  return sum;
}

std::vector<std::vector<bool>> all_allowed(const std::vector<Unit>& units) {
  std::vector<std::vector<bool>> allowed;
  for (const Unit& unit : units) allowed.emplace_back(unit.choices.size(), true);
  return allowed;
}

TEST(Curve, NoAssignmentCostsAsLittleAndLosesLess) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    const std::vector<Unit> units = random_units(5, 4, seed);
    const auto losses = losses_of(units);
    const Curve curve = make_curve(costs_of(units, Cost::kBytes), losses, all_allowed(units));
    for (size_t place = 0; place < curve.size(); ++place) {
      const Assignment here = curve.at(place);
      const double cost = cost_of(units, here, Cost::kBytes);
      const double loss = loss_of(losses, here);
      for_each_assignment(units, [&](const Assignment& other) {
        if (cost_of(units, other, Cost::kBytes) > cost) return;
        EXPECT_GE(loss_of(losses, other), loss - 1e-12) << "seed " << seed << " place " << place;
      });
    }
  }
}

TEST(Curve, IsNestedAndMonotone) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    const std::vector<Unit> units = random_units(40, 5, seed);
    const auto losses = losses_of(units);
    const Curve curve = make_curve(costs_of(units, Cost::kLatency), losses, all_allowed(units));
    for (size_t place = 1; place < curve.size(); ++place) {
      const Assignment before = curve.at(place - 1);
      const Assignment here = curve.at(place);
      size_t changed = 0;
      for (size_t u = 0; u < units.size(); ++u) changed += before[u] != here[u] ? 1 : 0;
      EXPECT_EQ(changed, 1U);
      EXPECT_GT(cost_of(units, here, Cost::kLatency), cost_of(units, before, Cost::kLatency));
      EXPECT_LT(loss_of(losses, here), loss_of(losses, before));
    }
    EXPECT_NEAR(loss_of(losses, curve.at(curve.size() - 1)), 0.0, 1e-12);  // float everywhere
  }
}

TEST(Curve, PassesOverWhatIsNotAllowedOrNotKnown) {
  std::vector<Unit> units = random_units(3, 3, 7);
  auto losses = losses_of(units);
  auto allowed = all_allowed(units);
  allowed[0] = {false, true, false};
  losses[1] = {0.0, std::numeric_limits<double>::infinity(), 0.5};
  allowed[2] = {false, false, false};
  const Curve curve = make_curve(costs_of(units, Cost::kBytes), losses, allowed);
  for (size_t place = 0; place < curve.size(); ++place) {
    const Assignment here = curve.at(place);
    EXPECT_EQ(here[0], 1U);
    EXPECT_NE(here[1], 1U);
    EXPECT_EQ(here[2], 0U);
  }
}

TEST(Worthwhile, IsWhatNoDearerBitsReplace) {
  Unit unit;
  unit.layers = {"a"};
  const auto add = [&](Setting setting, int64_t bytes, double ms) {
    unit.choices.push_back({setting, bytes, ms, std::nullopt, 0});
  };
  add(Setting(), 400, 3.0);
  add({8, 8}, 100, 1.0);
  add({6, 8}, 100, 1.0);  // stored as 8 bits
  add({4, 8}, 50, 1.02);  // smaller, no faster
  add({4, 4}, 50, 0.99);  // no smaller, within the noise of a timer
  add({2, 2}, 25, 0.5);
  const std::vector<Unit> units = {unit};
  EXPECT_EQ(worthwhile(units, Cost::kBytes)[0],
            (std::vector<bool>{true, true, false, true, false, true}));
  EXPECT_EQ(worthwhile(units, Cost::kLatency)[0],
            (std::vector<bool>{true, true, false, false, false, true}));
  EXPECT_FALSE(worthwhile(units, Cost::kBytes, false)[0][0]);
}

TEST(Worthwhile, FloatThatIsFasterLeavesNothingElse) {
  Unit unit;
  unit.layers = {"a"};
  unit.choices = {{Setting(), 400, 1.0, 0.0, 0}, {{8, 8}, 100, 2.0, std::nullopt, 0}};
  EXPECT_EQ(worthwhile({unit}, Cost::kLatency)[0], (std::vector<bool>{true, false}));
  EXPECT_EQ(worthwhile({unit}, Cost::kLatency, false)[0], (std::vector<bool>{false, true}));
}

TEST(Losses, OfWhatWasNotMeasuredAreThoseOfOthers) {
  std::vector<Unit> units = random_units(3, 3, 1);
  units[0].choices[1].loss = 0.1;
  units[1].choices[1].loss = 0.3;
  units[2].choices[1].loss.reset();
  for (Unit& unit : units) unit.choices[2].loss.reset();
  const auto losses = losses_of(units);
  EXPECT_EQ(losses[2][1], 0.3);
  EXPECT_EQ(losses[2][2], std::numeric_limits<double>::infinity());
}

TEST(ChoiceFor, IsTheSettingOrTheNextWithAllItsBits) {
  Unit unit;
  for (const Setting& setting : {Setting(), Setting{8, 8}, Setting{4, 8}, Setting{2, 2}}) {
    unit.choices.push_back({setting, 0, 0.0, std::nullopt, 0});
  }
  EXPECT_EQ(choice_for(unit, {4, 8}), 2U);
  EXPECT_EQ(choice_for(unit, {3, 8}), 2U);
  EXPECT_EQ(choice_for(unit, {6, 6}), 1U);
  EXPECT_EQ(choice_for(unit, {2, 2}), 3U);
  unit.choices.resize(1);
  EXPECT_EQ(choice_for(unit, {4, 8}), 0U);
}

TEST(Setting, HasANameAndBack) {
  for (const Setting& setting : {Setting(), Setting{8, 8}, Setting{4, 8}, Setting{2, 2}}) {
    EXPECT_EQ(setting_from_name(name_of(setting)), setting);
  }
  for (const char* text : {"", "W", "W4", "A8", "W4A", "WA8", "W9A8", "8", "floats", "W4A8 "}) {
    EXPECT_FALSE(setting_from_name(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace ounce::quantize::search
