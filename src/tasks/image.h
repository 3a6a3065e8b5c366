#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "tasks/box.h"

namespace ounce::tasks {

/// A decoded picture: 8-bit RGB, interleaved, row by row. The one picture type of the project; the
/// library that decodes and draws is hidden behind this header.
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> pixels;  // [height, width, 3]

  Image() = default;
  /// A picture of one colour. Throws `Error` for a side that is not in 1..kMaxSide.
  Image(int64_t image_width, int64_t image_height, uint8_t fill = 0);

  uint8_t* at(int64_t x, int64_t y) { return pixels.data() + (y * width + x) * 3; }
  const uint8_t* at(int64_t x, int64_t y) const { return pixels.data() + (y * width + x) * 3; }
  bool operator==(const Image&) const = default;
};

/// Sides and pixel counts beyond these are refused before anything is allocated: a file of a few
/// hundred bytes can claim gigabytes.
inline constexpr int64_t kMaxSide = 65535;
inline constexpr int64_t kMaxPixels = int64_t{1} << 27;

enum class Interpolation { nearest, bilinear, bicubic, area };

/// "nearest", "bilinear", "bicubic", "area"; throws `Error` for another word.
Interpolation parse_interpolation(std::string_view name);
std::string_view to_string(Interpolation interpolation);

/// Whether a filter widens when it shrinks a picture (so that every source pixel counts, as image
/// libraries do) or keeps its taps (as detectors' training code does).
enum class Antialias { off, on };

/// True for file names that end like a picture (.jpg, .png, ...), in any case.
bool has_picture_extension(const std::filesystem::path& path);

/// Reads and decodes a picture, turned upright as its EXIF orientation says. Throws `Error` naming
/// the file when it is missing, empty, no picture, truncated or larger than kMaxPixels.
Image read_image(const std::filesystem::path& path);

/// As `read_image`, from bytes; `name` appears in errors.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name);

/// Writes a PNG or JPEG (by extension) beside `path` and renames it, so a broken write leaves
/// nothing. Throws `Error`.
void write_image(const Image& image, const std::filesystem::path& path);

/// Scales to `width` x `height`. With antialias, bilinear and bicubic (a = -0.5) give the same
/// bytes as the Python Imaging Library; `area` averages the covered pixels exactly.
Image resize(const Image& image, int64_t width, int64_t height, Interpolation interpolation,
             Antialias antialias);

/// The window with its upper left corner at (left, top); parts outside the picture are `fill`.
Image crop(const Image& image, int64_t left, int64_t top, int64_t width, int64_t height,
           uint8_t fill = 0);

/// A labelled box to draw. `color_index` picks one of a fixed set of well separated colours.
struct BoxMark {
  Box box;
  std::string label;
  int64_t color_index = 0;
};

/// A copy with boxes and their labels drawn on it; line width follows the picture's size.
Image draw_boxes(const Image& image, std::span<const BoxMark> marks);

/// A copy with lines of text in its upper left corner.
Image draw_text(const Image& image, std::span<const std::string> lines);

}  // namespace ounce::tasks
