#include "tasks/image.h"

#include <cstring>

#include "graph/error.h"

namespace ounce::tasks {

Image::Image(int64_t image_width, int64_t image_height, uint8_t fill)
    : width(image_width), height(image_height) {
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide ||
      width * height > kMaxPixels) {
    throw Error("picture size " + std::to_string(width) + " x " + std::to_string(height) +
                    " is not supported",
                "",
                "sides from 1 to " + std::to_string(kMaxSide) + " and at most " +
                    std::to_string(kMaxPixels) + " pixels");
  }
  pixels.assign(static_cast<size_t>(width * height * 3), fill);
}

Interpolation parse_interpolation(std::string_view name) {
  for (const Interpolation kind : {Interpolation::nearest, Interpolation::bilinear,
                                   Interpolation::bicubic, Interpolation::area}) {
    if (to_string(kind) == name) return kind;
  }
  throw Error("unknown interpolation '" + std::string(name) + "'", "",
              "nearest, bilinear, bicubic or area");
}

std::string_view to_string(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::nearest:
      return "nearest";
    case Interpolation::bilinear:
      return "bilinear";
    case Interpolation::bicubic:
      return "bicubic";
    case Interpolation::area:
      return "area";
  }
  return "?";
}

bool has_picture_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const std::string_view known :
       {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}) {
    if (extension == known) return true;
  }
  return false;
}

Image crop(const Image& image, int64_t left, int64_t top, int64_t width, int64_t height,
           uint8_t fill) {
  Image result(width, height, fill);
  const int64_t first_x = std::max<int64_t>(0, left);
  const int64_t last_x = std::min(image.width, left + width);
  const int64_t first_y = std::max<int64_t>(0, top);
  const int64_t last_y = std::min(image.height, top + height);
  if (first_x >= last_x) return result;
  for (int64_t y = first_y; y < last_y; ++y) {
    std::memcpy(result.at(first_x - left, y - top), image.at(first_x, y),
                static_cast<size_t>(last_x - first_x) * 3);
  }
  return result;
}

}  // namespace ounce::tasks
