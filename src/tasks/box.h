#pragma once

#include <algorithm>

namespace ounce::tasks {

/// An axis-aligned box in pixels: left, top, right, bottom; the right and bottom edges are outside.
struct Box {
  double left = 0;
  double top = 0;
  double right = 0;
  double bottom = 0;

  double width() const { return right - left; }
  double height() const { return bottom - top; }
  double area() const { return std::max(0.0, width()) * std::max(0.0, height()); }
  bool operator==(const Box&) const = default;
};

inline double intersection(const Box& a, const Box& b) {
  const double width = std::min(a.right, b.right) - std::max(a.left, b.left);
  const double height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  return width > 0 && height > 0 ? width * height : 0.0;
}

/// Intersection over union; 0 for two empty boxes.
inline double iou(const Box& a, const Box& b) {
  const double shared = intersection(a, b);
  const double joined = a.area() + b.area() - shared;
  return joined > 0 ? shared / joined : 0.0;
}

}  // namespace ounce::tasks
