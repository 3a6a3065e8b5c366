#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "graph/graph.h"
#include "graph/tensor.h"
#include "tasks/box.h"
#include "tasks/image.h"

namespace ounce::tasks {

/// Where a letterboxed picture lies on its canvas.
enum class LetterboxAlign { top_left, center };
/// Order of the channels in the network's input.
enum class ChannelOrder { rgb, bgr };
/// Range of the pixel values that `mean` and `std` refer to.
enum class PixelRange { unit /* 0..1 */, byte /* 0..255 */ };

/// Height and width of a picture; 0 x 0 means "not set".
struct PictureSize {
  int64_t height = 0;
  int64_t width = 0;
  bool set() const { return height > 0; }
  bool operator==(const PictureSize&) const = default;
};

/// How a picture becomes a network's input: scale, cut or pad, order, normalise.
///
/// Either `letterbox` (scale to fit, pad) or `resize_short` (scale the short side) and/or `crop`
/// (the centre) is set; with neither the picture keeps its size. Then, for each colour,
/// value = (pixel in `range` - mean) / std. `mean` and `std` stand in R, G, B order whatever the
/// channel order.
struct Preprocessing {
  int64_t resize_short = 0;
  PictureSize crop;
  PictureSize letterbox;
  bool keep_ratio =
      true;  // false: `letterbox` stretches the picture to the canvas, without padding
  int64_t pad_value = 114;
  LetterboxAlign align = LetterboxAlign::top_left;
  Interpolation interpolation = Interpolation::bicubic;
  Antialias antialias = Antialias::on;
  ChannelOrder channels = ChannelOrder::rgb;
  PixelRange range = PixelRange::unit;
  std::array<double, 3> mean = {0, 0, 0};
  std::array<double, 3> std = {1, 1, 1};

  bool operator==(const Preprocessing&) const = default;
};

/// The plain options of the command line, as typed; an empty string was not given.
struct PreprocessOptions {
  std::string resize = {};     // "248"
  std::string crop = {};       // "224" or "224x224" (height x width)
  std::string mean = {};       // "0.485,0.456,0.406" or "0.5"
  std::string std = {};        // likewise; none may be 0
  std::string channels = {};   // "rgb" or "bgr"
  std::string letterbox = {};  // "416" or "416x640" (height x width)

  bool any() const;
};

/// `base` with the given options on top. Throws `Error` naming the option. `letterbox` switches
/// from short-side scaling to fitting without antialias, as detectors are trained; `resize` or
/// `crop` switch back.
Preprocessing with_options(Preprocessing base, const PreprocessOptions& options);

/// What most ImageNet classifiers want: short side size / 0.875 bicubic, centre crop, ImageNet mean
/// and standard deviation.
Preprocessing imagenet_preprocessing(int64_t size);

/// One line of JSON, as stored in `Graph::metadata[kPreprocessKey]`.
std::string to_json(const Preprocessing& preprocessing);

/// Throws `Error` naming the key for malformed text, unknown keys, or values out of range.
Preprocessing preprocessing_from_json(const std::string& text);

inline constexpr const char* kPreprocessKey = "ounce.preprocess";

/// Throws `Error` naming the field when the values make no sense together.
void validate(const Preprocessing& preprocessing);

/// Where a picture's pixels ended up in the input: input = picture * scale + offset.
struct Geometry {
  double scale_x = 1;
  double scale_y = 1;
  double offset_x = 0;
  double offset_y = 0;
  PictureSize picture;
  PictureSize input;

  /// A box in input pixels, in the picture's pixels, cut at the picture's edges.
  Box to_picture(const Box& in_input) const;
  /// The reverse, not cut.
  Box to_input(const Box& in_picture) const;
};

/// A network input and how it lies on the picture.
struct PreparedInput {
  Tensor pixels;  // f32 [1, 3, height, width]
  Geometry geometry;
};

/// A picture scaled and cut, still in bytes.
struct FittedPicture {
  Image image;
  Geometry geometry;
};

/// What `preprocessing` does to the picture's shape. Throws `Error` for one that cannot be scaled
/// so.
FittedPicture fit(const Preprocessing& preprocessing, const Image& image);

/// Applies `preprocessing`, values included. Throws `Error` for a picture that cannot be scaled so.
PreparedInput apply(const Preprocessing& preprocessing, const Image& image);

/// The height and width of the first input when they are fixed and it has three channels (or an
/// unknown number); else not set.
PictureSize fixed_input_size(const Graph& graph);

}  // namespace ounce::tasks
