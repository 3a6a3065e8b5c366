#include "quantize/search/table.h"

#include <algorithm>
#include <limits>
#include <map>

namespace ounce::quantize::search {
namespace {

/// Milliseconds that times differ by without meaning it.
double slack_of(const std::vector<Unit>& units) {
  constexpr double kLeastShare = 1e-3;
  double total = 0.0;
  for (const Unit& unit : units) total += unit.choices.front().ms;
  return kLeastShare * total;
}

/// Whether `other` makes `choice` pointless.
bool makes_pointless(const Choice& other, const Choice& choice, Cost cost, double slack) {
  constexpr double kTimerNoise = 1.05;
  if (!other.setting.covers(choice.setting) || other.setting == choice.setting) return false;
  if (cost == Cost::kBytes) return other.bytes <= choice.bytes;
  return other.ms <= std::max(kTimerNoise * choice.ms, choice.ms + slack);
}

double median(std::vector<double> numbers) {
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

}  // namespace

double cost_of(const Choice& choice, Cost cost) {
  return cost == Cost::kLatency ? choice.ms : static_cast<double>(choice.bytes);
}

double cost_of(const std::vector<Unit>& units, const Assignment& assignment, Cost cost) {
  double sum = 0.0;
  for (size_t u = 0; u < units.size(); ++u) {
    sum += cost_of(units[u].choices[assignment[u]], cost);
  }
  return sum;
}

std::vector<std::vector<double>> costs_of(const std::vector<Unit>& units, Cost cost) {
  std::vector<std::vector<double>> costs;
  for (const Unit& unit : units) {
    std::vector<double>& row = costs.emplace_back();
    for (const Choice& choice : unit.choices) row.push_back(cost_of(choice, cost));
  }
  return costs;
}

std::vector<std::vector<double>> losses_of(const std::vector<Unit>& units) {
  std::map<Setting, std::vector<double>> measured;
  for (const Unit& unit : units) {
    for (const Choice& choice : unit.choices) {
      if (choice.loss) measured[choice.setting].push_back(*choice.loss);
    }
  }
  std::vector<std::vector<double>> losses;
  for (const Unit& unit : units) {
    std::vector<double>& row = losses.emplace_back();
    for (const Choice& choice : unit.choices) {
      const auto same = measured.find(choice.setting);
      row.push_back(choice.loss              ? *choice.loss
                    : same != measured.end() ? median(same->second)
                                             : std::numeric_limits<double>::infinity());
    }
  }
  return losses;
}

std::vector<std::vector<bool>> worthwhile(const std::vector<Unit>& units, Cost cost,
                                          bool allow_float) {
  const double slack = slack_of(units);
  std::vector<std::vector<bool>> worth;
  for (const Unit& unit : units) {
    const auto is_allowed = [&](const Choice& choice) {
      return allow_float || !choice.setting.is_float();
    };
    std::vector<bool>& row = worth.emplace_back();
    for (const Choice& choice : unit.choices) {
      row.push_back(is_allowed(choice) &&
                    std::none_of(unit.choices.begin(), unit.choices.end(), [&](const Choice& one) {
                      return is_allowed(one) && makes_pointless(one, choice, cost, slack);
                    }));
    }
  }
  return worth;
}

size_t choice_for(const Unit& unit, const Setting& setting) {
  size_t best = 0;  // float covers everything
  for (size_t c = 0; c < unit.choices.size(); ++c) {
    const Setting& here = unit.choices[c].setting;
    const Setting& best_here = unit.choices[best].setting;
    if (here.covers(setting) && (best_here.covers(here) && here != best_here)) best = c;
  }
  return best;
}

std::string summary_of(const std::vector<Unit>& units, const Assignment& assignment) {
  std::map<Setting, size_t> counts;
  for (size_t u = 0; u < units.size(); ++u) {
    counts[units[u].choices[assignment[u]].setting] += units[u].layers.size();
  }
  std::vector<std::pair<Setting, size_t>> order(counts.begin(), counts.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [setting, count] : order) {
    text += (text.empty() ? "" : ", ") + name_of(setting) + " x " + std::to_string(count);
  }
  return text;
}

double mean_weight_bits(const std::vector<Unit>& units, const Assignment& assignment) {
  double bits = 0.0;
  double parameters = 0.0;
  for (size_t u = 0; u < units.size(); ++u) {
    const auto count = static_cast<double>(units[u].parameters);
    bits += count * units[u].choices[assignment[u]].setting.weight_bits;
    parameters += count;
  }
  return parameters > 0.0 ? bits / parameters : 0.0;
}

}  // namespace ounce::quantize::search
