#include "tasks/text_detection/text_regions.h"

#include <algorithm>
#include <opencv2/imgproc.hpp>

namespace ounce::tasks {
namespace {

using Contour = std::vector<cv::Point>;

cv::RotatedRect grown(cv::RotatedRect rectangle, double ratio) {
  const double width = rectangle.size.width;
  const double height = rectangle.size.height;
  const auto all_around = static_cast<float>(width * height * ratio / (2 * (width + height)));
  rectangle.size.width += 2 * all_around;
  rectangle.size.height += 2 * all_around;
  return rectangle;
}

Polygon corners_of(const cv::RotatedRect& rectangle) {
  cv::Point2f corners[4];
  rectangle.points(corners);
  Polygon outline;
  for (const cv::Point2f& corner : corners) outline.push_back({corner.x, corner.y});
  return outline;
}

/// Mean of the map inside of a rectangle.
double mean_inside(const cv::Mat& map, const cv::RotatedRect& rectangle) {
  const cv::Rect frame = rectangle.boundingRect() & cv::Rect(0, 0, map.cols, map.rows);
  if (frame.empty()) return 0;
  Contour corners;
  for (const Point& corner : corners_of(rectangle)) {
    corners.emplace_back(static_cast<int>(corner.x) - frame.x,
                         static_cast<int>(corner.y) - frame.y);
  }
  cv::Mat mask = cv::Mat::zeros(frame.size(), CV_8UC1);
  cv::fillConvexPoly(mask, corners, cv::Scalar(1));
  return cv::mean(map(frame), mask)[0];
}

/// In the picture's pixels, cut at its edges.
Polygon in_picture(const Polygon& outline, const Geometry& geometry) {
  Polygon result;
  for (const Point& corner : outline) {
    const double x = (corner.x - geometry.offset_x) / geometry.scale_x;
    const double y = (corner.y - geometry.offset_y) / geometry.scale_y;
    result.push_back({std::clamp(x, 0.0, static_cast<double>(geometry.picture.width)),
                      std::clamp(y, 0.0, static_cast<double>(geometry.picture.height))});
  }
  return result;
}

}  // namespace

std::vector<TextRegion> text_regions(const Tensor& probabilities, const Geometry& geometry,
                                     const TextRegionOptions& options) {
  std::vector<float> values = probabilities.to_f32();
  const cv::Mat map(static_cast<int>(geometry.input.height), static_cast<int>(geometry.input.width),
                    CV_32FC1, values.data());
  const cv::Mat above = map > options.threshold;
  std::vector<Contour> contours;
  cv::findContours(above, contours, cv::RETR_LIST, cv::CHAIN_APPROX_SIMPLE);
  if (static_cast<int64_t>(contours.size()) > options.most) {
    contours.resize(static_cast<size_t>(options.most));
  }
  std::vector<TextRegion> regions;
  for (const Contour& contour : contours) {
    const cv::RotatedRect tight = cv::minAreaRect(contour);
    if (std::min(tight.size.width, tight.size.height) < options.shortest_side) continue;
    const double score = mean_inside(map, tight);
    if (!(score >= options.region_score)) continue;
    const Polygon outline = in_picture(corners_of(grown(tight, options.unclip_ratio)), geometry);
    if (area(outline) > 0) regions.push_back({outline, score});
  }
  std::stable_sort(regions.begin(), regions.end(),
                   [](const TextRegion& a, const TextRegion& b) { return a.score > b.score; });
  return regions;
}

}  // namespace ounce::tasks
