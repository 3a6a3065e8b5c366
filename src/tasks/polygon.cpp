#include "tasks/polygon.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

namespace ounce::tasks {
namespace {

std::vector<cv::Point2f> points_of(const Polygon& polygon) {
  std::vector<cv::Point2f> points;
  for (const Point& corner : polygon) {
    points.emplace_back(static_cast<float>(corner.x), static_cast<float>(corner.y));
  }
  return points;
}

}  // namespace

Box bounds(const Polygon& polygon) {
  if (polygon.empty()) return {};
  Box box{polygon[0].x, polygon[0].y, polygon[0].x, polygon[0].y};
  for (const Point& corner : polygon) {
    box.left = std::min(box.left, corner.x);
    box.right = std::max(box.right, corner.x);
    box.top = std::min(box.top, corner.y);
    box.bottom = std::max(box.bottom, corner.y);
  }
  return box;
}

Polygon convex_hull(const Polygon& polygon) {
  if (polygon.size() < 3) return polygon;
  std::vector<cv::Point2f> hull;
  cv::convexHull(points_of(polygon), hull);
  Polygon result;
  for (const cv::Point2f& corner : hull) result.push_back({corner.x, corner.y});
  return result;
}

double area(const Polygon& convex) {
  double twice = 0;
  for (size_t i = 0; i < convex.size(); ++i) {
    const Point& a = convex[i];
    const Point& b = convex[(i + 1) % convex.size()];
    twice += a.x * b.y - b.x * a.y;
  }
  return std::abs(twice) / 2;
}

double intersection(const Polygon& a, const Polygon& b) {
  if (a.size() < 3 || b.size() < 3 || intersection(bounds(a), bounds(b)) <= 0) return 0;
  std::vector<cv::Point2f> shared;
  return cv::intersectConvexConvex(points_of(a), points_of(b), shared);
}

}  // namespace ounce::tasks
