#include "quantize/search/allocation.h"

#include <algorithm>
#include <cmath>

namespace ounce::quantize::search {
namespace {

struct Point {
  size_t choice = 0;
  double cost = 0.0;
  double loss = 0.0;
};

/// Gain in loss for each unit of cost between two points, the first being the cheaper one.
double slope(const Point& cheap, const Point& dear) {
  return (cheap.loss - dear.loss) / (dear.cost - cheap.cost);
}

/// The choices of one unit that are best for some exchange rate of loss and cost, cheapest first.
std::vector<Point> hull_of(const std::vector<double>& costs, const std::vector<double>& losses,
                           const std::vector<bool>& allowed) {
  std::vector<Point> points;
  for (size_t c = 0; c < costs.size(); ++c) {
    if (allowed[c] && std::isfinite(losses[c])) {
      points.push_back({c, costs[c], losses[c]});
    }
  }
  if (points.empty()) points.push_back({0, costs[0], 0.0});
  std::stable_sort(points.begin(), points.end(), [](const Point& a, const Point& b) {
    return a.cost != b.cost ? a.cost < b.cost : a.loss < b.loss;
  });
  std::vector<Point> hull;
  for (const Point& point : points) {
    if (!hull.empty() && point.loss >= hull.back().loss) continue;  // costs more for nothing
    while (hull.size() >= 2 &&
           slope(hull[hull.size() - 2], hull.back()) <= slope(hull.back(), point)) {
      hull.pop_back();
    }
    hull.push_back(point);
  }
  return hull;
}

}  // namespace

Assignment Curve::at(size_t count) const {
  Assignment assignment = cheapest;
  for (size_t i = 0; i < count; ++i) assignment[raises[i].unit] = raises[i].to;
  return assignment;
}

Curve make_curve(const std::vector<std::vector<double>>& costs,
                 const std::vector<std::vector<double>>& losses,
                 const std::vector<std::vector<bool>>& allowed) {
  Curve curve;
  for (size_t u = 0; u < costs.size(); ++u) {
    const std::vector<Point> hull = hull_of(costs[u], losses[u], allowed[u]);
    curve.cheapest.push_back(hull.front().choice);
    for (size_t i = 1; i < hull.size(); ++i) {
      curve.raises.push_back({u, hull[i - 1].choice, hull[i].choice,
                              hull[i - 1].loss - hull[i].loss, hull[i].cost - hull[i - 1].cost});
    }
  }
  // Slopes fall along each unit's hull, so that sorting keeps a unit's raises in their order.
  std::stable_sort(curve.raises.begin(), curve.raises.end(), [](const Raise& a, const Raise& b) {
    return a.loss_gained * b.cost_paid > b.loss_gained * a.cost_paid;
  });
  return curve;
}

}  // namespace ounce::quantize::search
