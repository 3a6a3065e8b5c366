#include "recipes/rand_augment.h"

#include <cmath>
#include <cstring>
#include <opencv2/imgproc.hpp>
#include <random>
#include <vector>

#include "graph/error.h"

namespace ounce::recipes {
namespace {

constexpr double kLargestAngle = 30 * M_PI / 180;
constexpr double kLargestShear = 0.3;
constexpr double kLargestShift = 0.45;
constexpr double kLargestChange = 0.9;
constexpr double kMostBitsLost = 4;
const cv::Scalar kGrey(128, 128, 128);

/// [H, W] of 3 bytes.
cv::Mat to_mat(const at::Tensor& picture) {
  if (picture.dim() != 3 || picture.size(0) != 3) {
    throw Error("pictures to be augmented need three channels");
  }
  const at::Tensor rows = picture.permute({1, 2, 0}).contiguous();
  cv::Mat mat(static_cast<int>(rows.size(0)), static_cast<int>(rows.size(1)), CV_8UC3);
  std::memcpy(mat.data, rows.data_ptr<uint8_t>(), static_cast<size_t>(rows.numel()));
  return mat;
}

at::Tensor to_tensor(const cv::Mat& mat) {
  at::Tensor rows = at::empty({mat.rows, mat.cols, 3}, at::kByte);
  const cv::Mat whole = mat.isContinuous() ? mat : mat.clone();
  std::memcpy(rows.data_ptr<uint8_t>(), whole.data, static_cast<size_t>(rows.numel()));
  return rows.permute({2, 0, 1}).contiguous();
}

/// Each pixel from where `a` (x' = a x + b y, y' = c x + d y about the centre) and the shift say.
cv::Mat warped(const cv::Mat& image, const cv::Matx22d& a, double shift_x, double shift_y) {
  const double x = (image.cols - 1) / 2.0;
  const double y = (image.rows - 1) / 2.0;
  const cv::Matx23d map(a(0, 0), a(0, 1), x - a(0, 0) * x - a(0, 1) * y + shift_x,  //
                        a(1, 0), a(1, 1), y - a(1, 0) * x - a(1, 1) * y + shift_y);
  cv::Mat result;
  cv::warpAffine(image, result, map, image.size(), cv::INTER_LINEAR | cv::WARP_INVERSE_MAP,
                 cv::BORDER_CONSTANT, kGrey);
  return result;
}

/// A lookup table of 256 values, by channel the same.
template <class Function>
cv::Mat mapped(const cv::Mat& image, Function function) {
  cv::Mat table(1, 256, CV_8U);
  for (int i = 0; i < 256; ++i) table.at<uint8_t>(i) = cv::saturate_cast<uint8_t>(function(i));
  cv::Mat result;
  cv::LUT(image, table, result);
  return result;
}

template <class Function>
cv::Mat by_channel(const cv::Mat& image, Function function) {
  std::vector<cv::Mat> channels;
  cv::split(image, channels);
  for (cv::Mat& channel : channels) channel = function(channel);
  cv::Mat result;
  cv::merge(channels, result);
  return result;
}

cv::Mat stretched(const cv::Mat& channel) {
  double least = 0;
  double largest = 0;
  cv::minMaxLoc(channel, &least, &largest);
  if (largest <= least) return channel;
  return mapped(channel, [&](int value) { return 255.0 * (value - least) / (largest - least); });
}

cv::Mat equalized(const cv::Mat& channel) {
  cv::Mat result;
  cv::equalizeHist(channel, result);
  return result;
}

cv::Mat grey_of(const cv::Mat& image) {
  cv::Mat grey;
  cv::cvtColor(image, grey, cv::COLOR_RGB2GRAY);
  cv::Mat result;
  cv::cvtColor(grey, result, cv::COLOR_GRAY2RGB);
  return result;
}

cv::Mat smoothed(const cv::Mat& image) {
  const cv::Matx33f kernel(1, 1, 1, 1, 5, 1, 1, 1, 1);
  cv::Mat result;
  cv::filter2D(image, result, -1, cv::Mat(kernel) / 13, cv::Point(-1, -1), 0, cv::BORDER_REPLICATE);
  return result;
}

/// `image` moved away from `plain`, or towards it.
cv::Mat blended(const cv::Mat& image, const cv::Mat& plain, double strength) {
  const double factor = 1 + strength * kLargestChange;
  cv::Mat result;
  cv::addWeighted(image, factor, plain, 1 - factor, 0, result);
  return result;
}

cv::Mat apply(const cv::Mat& image, Operation operation, double strength) {
  const double size = std::abs(strength);
  switch (operation) {
    case Operation::kIdentity:
      break;
    case Operation::kAutoContrast:
      return by_channel(image, stretched);
    case Operation::kEqualize:
      return by_channel(image, equalized);
    case Operation::kRotate: {
      const double angle = strength * kLargestAngle;
      return warped(image, {std::cos(angle), -std::sin(angle), std::sin(angle), std::cos(angle)}, 0,
                    0);
    }
    case Operation::kSolarize:
      return mapped(image,
                    [&](int value) { return value >= 256 * (1 - size) ? 255 - value : value; });
    case Operation::kColor:
      return blended(image, grey_of(image), strength);
    case Operation::kPosterize: {
      const int lost = static_cast<int>(std::lround(size * kMostBitsLost));
      return mapped(image, [&](int value) { return (value >> lost) << lost; });
    }
    case Operation::kContrast: {
      const double mean = std::round(cv::mean(grey_of(image))[0]);
      return blended(image, cv::Mat(image.size(), CV_8UC3, cv::Scalar::all(mean)), strength);
    }
    case Operation::kBrightness:
      return blended(image, cv::Mat::zeros(image.size(), CV_8UC3), strength);
    case Operation::kSharpness:
      return blended(image, smoothed(image), strength);
    case Operation::kShearX:
      return warped(image, {1, strength * kLargestShear, 0, 1}, 0, 0);
    case Operation::kShearY:
      return warped(image, {1, 0, strength * kLargestShear, 1}, 0, 0);
    case Operation::kTranslateX:
      return warped(image, {1, 0, 0, 1}, strength * kLargestShift * image.cols, 0);
    case Operation::kTranslateY:
      return warped(image, {1, 0, 0, 1}, 0, strength * kLargestShift * image.rows);
  }
  return image;
}

}  // namespace

at::Tensor augmented(const at::Tensor& picture, Operation operation, double strength) {
  return to_tensor(apply(to_mat(picture), operation, strength));
}

train::PictureChange rand_augment(const RandAugmentOptions& options) {
  return [options](const at::Tensor& picture, uint64_t seed) {
    std::mt19937_64 random(seed);
    cv::Mat image = to_mat(picture);
    for (int i = 0; i < options.operations; ++i) {
      const auto operation = static_cast<Operation>(random() % kOperations);
      const double direction = random() % 2 == 0 ? 1 : -1;
      image = apply(image, operation, direction * options.magnitude / kLargestMagnitude);
    }
    return to_tensor(image);
  };
}

}  // namespace ounce::recipes
