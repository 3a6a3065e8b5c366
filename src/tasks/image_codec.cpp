// The only file that knows OpenCV.
#include <fstream>
#include <mutex>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "graph/error.h"
#include "tasks/image.h"
#include "tasks/image_header.h"
#include "tasks/read_file.h"

namespace ounce::tasks {
namespace {

/// A file that cannot be decoded becomes an `Error`; the library need not log it as well.
void silence_library_log() {
  static std::once_flag once;
  std::call_once(once,
                 [] { cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT); });
}

Image from_bgr(const cv::Mat& bgr) {
  Image image(bgr.cols, bgr.rows);
  cv::Mat rgb(bgr.rows, bgr.cols, CV_8UC3, image.pixels.data());
  cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
  return image;
}

cv::Mat to_bgr(const Image& image) {
  const cv::Mat rgb(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3,
                    const_cast<uint8_t*>(image.pixels.data()));
  cv::Mat bgr;
  cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
  return bgr;
}

/// Colours a third of the wheel and then ever smaller steps apart (golden angle in hue).
cv::Scalar color_of(int64_t index) {
  const double hue = static_cast<double>(((index % 360) + 360) % 360) * 137.508;
  const double sector = hue / 60 - 6 * static_cast<int64_t>(hue / 360);
  const auto channel = [&](double shift) {
    double k = sector + shift;
    k -= 6 * static_cast<int64_t>(k / 6);
    return 235 - 200 * std::max(0.0, std::min({k, 4 - k, 1.0}));
  };
  return {channel(1), channel(3), channel(5)};
}

double text_scale(const Image& image) {
  return std::clamp(static_cast<double>(std::min(image.width, image.height)) / 900.0, 0.35, 1.5);
}

/// Text on a filled background so that it can be read on any picture.
void put_label(cv::Mat& canvas, const std::string& text, cv::Point corner, double scale,
               const cv::Scalar& background) {
  int baseline = 0;
  const int thickness = scale > 0.8 ? 2 : 1;
  const cv::Size size =
      cv::getTextSize(text, cv::FONT_HERSHEY_SIMPLEX, scale, thickness, &baseline);
  const int height = size.height + baseline + 2;
  corner.x = std::clamp(corner.x, 0, std::max(0, canvas.cols - size.width - 2));
  corner.y = std::clamp(corner.y, 0, std::max(0, canvas.rows - height));
  cv::rectangle(canvas, {corner.x, corner.y, size.width + 2, height}, background, cv::FILLED);
  cv::putText(canvas, text, {corner.x + 1, corner.y + size.height + 1}, cv::FONT_HERSHEY_SIMPLEX,
              scale, cv::Scalar(255, 255, 255), thickness, cv::LINE_AA);
}

int to_pixel(double coordinate, int64_t limit) {
  return static_cast<int>(
      std::lround(std::clamp(coordinate, -1.0, static_cast<double>(limit) + 1.0)));
}

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, const std::string& name) {
  silence_library_log();
  check_image_header(bytes, name);
  try {
    const cv::Mat encoded(1, static_cast<int>(bytes.size()), CV_8UC1,
                          const_cast<uint8_t*>(bytes.data()));
    const cv::Mat bgr = cv::imdecode(encoded, cv::IMREAD_COLOR);
    if (bgr.empty()) {
      throw Error("not a picture that can be decoded", name, "a JPEG, PNG, BMP, WebP or TIFF file");
    }
    return from_bgr(bgr);
  } catch (const cv::Exception& failure) {
    throw Error("not a picture that can be decoded (" + failure.err + ")", name,
                "a JPEG, PNG, BMP, WebP or TIFF file");
  }
}

Image read_image(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = read_file(path);
  return decode_image(bytes, path.string());
}

void write_image(const Image& image, const std::filesystem::path& path) {
  silence_library_log();
  const std::string extension = path.extension().string();
  std::vector<uint8_t> encoded;
  bool written = false;
  try {
    if (extension == ".png" || extension == ".jpg" || extension == ".jpeg") {
      written = cv::imencode(extension, to_bgr(image), encoded);
    }
  } catch (const cv::Exception& failure) {
    throw Error("cannot encode the picture (" + failure.err + ")", path.string());
  }
  if (!written) {
    throw Error("cannot write a picture of this kind", path.string(),
                "a name that ends in .png or .jpg");
  }
  write_file_atomically(path, encoded);
}

Image draw_boxes(const Image& image, std::span<const BoxMark> marks) {
  cv::Mat canvas = to_bgr(image);
  const double scale = text_scale(image);
  const int thickness = std::max(1, static_cast<int>(std::lround(scale * 3)));
  for (const BoxMark& mark : marks) {
    const cv::Point corner(to_pixel(mark.box.left, image.width),
                           to_pixel(mark.box.top, image.height));
    const cv::Point opposite(to_pixel(mark.box.right, image.width),
                             to_pixel(mark.box.bottom, image.height));
    const cv::Scalar color = color_of(mark.color_index);
    cv::rectangle(canvas, corner, opposite, color, thickness, cv::LINE_AA);
    if (!mark.label.empty()) {
      const int above = static_cast<int>(30 * scale);
      put_label(canvas, mark.label, {corner.x, corner.y - above}, scale, color);
    }
  }
  return from_bgr(canvas);
}

Image draw_text(const Image& image, std::span<const std::string> lines) {
  cv::Mat canvas = to_bgr(image);
  const double scale = text_scale(image);
  int y = 2;
  for (const std::string& line : lines) {
    put_label(canvas, line, {2, y}, scale, cv::Scalar(48, 48, 48));
    y += static_cast<int>(34 * scale);
  }
  return from_bgr(canvas);
}

}  // namespace ounce::tasks
