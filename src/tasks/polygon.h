#pragma once

#include <vector>

#include "tasks/box.h"

namespace ounce::tasks {

struct Point {
  double x = 0;
  double y = 0;
  bool operator==(const Point&) const = default;
};

/// Corners in order, the last joined to the first.
using Polygon = std::vector<Point>;

/// The smallest box around it; empty for no corners.
Box bounds(const Polygon& polygon);

/// The smallest convex polygon around it, which outlines of text are but for a careless corner.
Polygon convex_hull(const Polygon& polygon);

/// Of convex polygons, in any direction of turning.
double area(const Polygon& convex);
double intersection(const Polygon& a, const Polygon& b);

}  // namespace ounce::tasks
