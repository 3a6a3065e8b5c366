#include "tasks/preprocess.h"

#include <cmath>

#include "graph/error.h"
#include "tasks/text.h"

namespace ounce::tasks {
namespace {

PictureSize parse_size(const std::string& text, const char* option) {
  const std::vector<std::string> parts = split(text, 'x');
  const auto side = [&](const std::string& part) {
    const std::optional<int64_t> value = parse_integer(part);
    if (!value || *value < 1 || *value > kMaxSide) {
      throw Error("'" + text + "' is not a size", option, "a number such as 224, or 416x640");
    }
    return *value;
  };
  if (parts.size() == 1) return {side(parts[0]), side(parts[0])};
  if (parts.size() == 2) return {side(parts[0]), side(parts[1])};
  throw Error("'" + text + "' is not a size", option, "a number such as 224, or 416x640");
}

std::array<double, 3> parse_colors(const std::string& text, const char* option) {
  const std::vector<std::string> parts = split(text, ',');
  if (parts.size() != 1 && parts.size() != 3) {
    throw Error("'" + text + "' is neither one number nor three", option, "R,G,B");
  }
  std::array<double, 3> values{};
  for (size_t i = 0; i < 3; ++i) {
    const std::optional<double> value = parse_number(parts[parts.size() == 1 ? 0 : i]);
    if (!value) throw Error("'" + text + "' is not a list of numbers", option, "R,G,B");
    values[i] = *value;
  }
  return values;
}

/// The short side becomes `target`, the long side follows, rounded down as image libraries do.
Image scale_short_side(const Preprocessing& preprocessing, const Image& image) {
  const int64_t target = preprocessing.resize_short;
  const bool wide = image.width >= image.height;
  const int64_t short_side = wide ? image.height : image.width;
  const int64_t long_side = wide ? image.width : image.height;
  const int64_t scaled = target * long_side / short_side;
  return resize(image, wide ? scaled : target, wide ? target : scaled, preprocessing.interpolation,
                preprocessing.antialias);
}

/// Half of the surplus, rounded half to even, as the reference preprocessing of the classifiers.
int64_t centre_offset(int64_t have, int64_t want) {
  return static_cast<int64_t>(std::nearbyint(static_cast<double>(have - want) / 2.0));
}

Image apply_letterbox(const Preprocessing& preprocessing, const Image& image, Geometry& geometry) {
  const PictureSize canvas = preprocessing.letterbox;
  int64_t width = canvas.width;
  int64_t height = canvas.height;
  if (preprocessing.keep_ratio) {
    const double ratio =
        std::min(static_cast<double>(canvas.height) / static_cast<double>(image.height),
                 static_cast<double>(canvas.width) / static_cast<double>(image.width));
    const auto scaled = [&](int64_t side, int64_t limit) {
      const double exact = static_cast<double>(side) * ratio;
      // Top-left is the habit of YOLOX, which cuts; centred that of its cousins, which round.
      const bool cut = preprocessing.align == LetterboxAlign::top_left;
      return std::clamp<int64_t>(static_cast<int64_t>(cut ? exact + 1e-9 : std::round(exact)), 1,
                                 limit);
    };
    width = scaled(image.width, canvas.width);
    height = scaled(image.height, canvas.height);
  }
  const bool centred = preprocessing.align == LetterboxAlign::center;
  const int64_t left = centred ? (canvas.width - width) / 2 : 0;
  const int64_t top = centred ? (canvas.height - height) / 2 : 0;
  geometry.scale_x = static_cast<double>(width) / static_cast<double>(image.width);
  geometry.scale_y = static_cast<double>(height) / static_cast<double>(image.height);
  geometry.offset_x = static_cast<double>(left);
  geometry.offset_y = static_cast<double>(top);
  return crop(resize(image, width, height, preprocessing.interpolation, preprocessing.antialias),
              -left, -top, canvas.width, canvas.height,
              static_cast<uint8_t>(preprocessing.pad_value));
}

Image apply_resize_and_crop(const Preprocessing& preprocessing, const Image& image,
                            Geometry& geometry) {
  const bool scales = preprocessing.resize_short > 0;
  Image result = scales ? scale_short_side(preprocessing, image) : image;
  geometry.scale_x = static_cast<double>(result.width) / static_cast<double>(image.width);
  geometry.scale_y = static_cast<double>(result.height) / static_cast<double>(image.height);
  const PictureSize window = preprocessing.crop;
  if (!window.set() || window == PictureSize{result.height, result.width}) return result;
  const int64_t left = centre_offset(result.width, window.width);
  const int64_t top = centre_offset(result.height, window.height);
  geometry.offset_x = static_cast<double>(-left);
  geometry.offset_y = static_cast<double>(-top);
  return crop(result, left, top, window.width, window.height);
}

/// [1, 3, height, width] in the network's channel order, normalised.
Tensor to_tensor(const Preprocessing& preprocessing, const Image& image) {
  Tensor tensor(DType::f32, {1, 3, image.height, image.width});
  const std::span<float> values = tensor.mutable_data<float>();
  const int64_t plane = image.width * image.height;
  const double unit = preprocessing.range == PixelRange::unit ? 255.0 : 1.0;
  for (size_t channel = 0; channel < 3; ++channel) {
    const size_t color = preprocessing.channels == ChannelOrder::rgb ? channel : 2 - channel;
    std::array<float, 256> normalised{};
    for (size_t byte = 0; byte < 256; ++byte) {
      const double value =
          (static_cast<double>(byte) / unit - preprocessing.mean[color]) / preprocessing.std[color];
      normalised[byte] = static_cast<float>(value);
    }
    float* target = values.data() + static_cast<int64_t>(channel) * plane;
    const uint8_t* source = image.pixels.data() + color;
    for (int64_t i = 0; i < plane; ++i) target[i] = normalised[source[i * 3]];
  }
  return tensor;
}

}  // namespace

bool PreprocessOptions::any() const {
  return !(resize.empty() && crop.empty() && mean.empty() && std.empty() && channels.empty() &&
           letterbox.empty());
}

Preprocessing with_options(Preprocessing base, const PreprocessOptions& options) {
  if (!options.letterbox.empty() && !(options.resize.empty() && options.crop.empty())) {
    throw Error("cannot be combined with --resize or --crop", "--letterbox", "one of the two");
  }
  if (!options.letterbox.empty()) {
    base.letterbox = parse_size(options.letterbox, "--letterbox");
    base.resize_short = 0;
    base.crop = {};
    base.interpolation = Interpolation::bilinear;
    base.antialias = Antialias::off;
  }
  const bool cuts = !options.resize.empty() || !options.crop.empty();
  if (cuts && base.letterbox.set()) {
    base.letterbox = {};
    base.interpolation = Interpolation::bicubic;
    base.antialias = Antialias::on;
  }
  if (!options.resize.empty()) {
    const std::optional<int64_t> side = parse_integer(options.resize);
    if (!side || *side < 0 || *side > kMaxSide) {
      throw Error("'" + options.resize + "' is not a length in pixels", "--resize",
                  "the short side, such as 256; 0 to keep the size");
    }
    base.resize_short = *side;
  }
  if (!options.crop.empty()) base.crop = parse_size(options.crop, "--crop");
  const bool normalises = !options.mean.empty() || !options.std.empty();
  if (normalises && base.range == PixelRange::byte) {
    // The options speak of pixels scaled to 0..1, whatever the stored preprocessing did.
    base.range = PixelRange::unit;
    for (double& value : base.mean) value /= 255;
    for (double& value : base.std) value /= 255;
  }
  if (!options.mean.empty()) base.mean = parse_colors(options.mean, "--mean");
  if (!options.std.empty()) base.std = parse_colors(options.std, "--std");
  if (!options.channels.empty())
    base.channels = parse_channel_order(options.channels, "--channels");
  validate(base);
  return base;
}

Preprocessing imagenet_preprocessing(int64_t size) {
  Preprocessing preprocessing;
  preprocessing.resize_short = std::llround(static_cast<double>(size) / 0.875);
  preprocessing.crop = {size, size};
  preprocessing.mean = {0.485, 0.456, 0.406};
  preprocessing.std = {0.229, 0.224, 0.225};
  return preprocessing;
}

void validate(const Preprocessing& preprocessing) {
  const auto fail = [](const std::string& message, const char* field) {
    throw Error(message, std::string("preprocessing, ") + field);
  };
  const auto check_size = [&](const PictureSize& size, const char* field) {
    const bool both = (size.height > 0) == (size.width > 0);
    if (!both || size.height < 0 || size.height > kMaxSide || size.width > kMaxSide ||
        size.height * size.width > kMaxPixels) {
      fail("the size is out of range", field);
    }
  };
  check_size(preprocessing.crop, "crop");
  check_size(preprocessing.letterbox, "letterbox");
  if (preprocessing.resize_short < 0 || preprocessing.resize_short > kMaxSide) {
    fail("the length is out of range", "resize");
  }
  if (preprocessing.letterbox.set() &&
      (preprocessing.resize_short > 0 || preprocessing.crop.set())) {
    fail("cannot be combined with resize or crop", "letterbox");
  }
  if (preprocessing.pad_value < 0 || preprocessing.pad_value > 255) {
    fail("must lie in 0..255", "pad");
  }
  for (size_t i = 0; i < 3; ++i) {
    if (!std::isfinite(preprocessing.mean[i])) fail("must be finite", "mean");
    if (!std::isfinite(preprocessing.std[i]) || preprocessing.std[i] <= 0) {
      fail("must be above zero", "std");
    }
  }
}

Box Geometry::to_picture(const Box& in_input) const {
  const auto width = static_cast<double>(picture.width);
  const auto height = static_cast<double>(picture.height);
  return {std::clamp((in_input.left - offset_x) / scale_x, 0.0, width),
          std::clamp((in_input.top - offset_y) / scale_y, 0.0, height),
          std::clamp((in_input.right - offset_x) / scale_x, 0.0, width),
          std::clamp((in_input.bottom - offset_y) / scale_y, 0.0, height)};
}

Box Geometry::to_input(const Box& in_picture) const {
  return {in_picture.left * scale_x + offset_x, in_picture.top * scale_y + offset_y,
          in_picture.right * scale_x + offset_x, in_picture.bottom * scale_y + offset_y};
}

FittedPicture fit(const Preprocessing& preprocessing, const Image& image) {
  if (image.width < 1 || image.height < 1) throw Error("the picture is empty", "preprocessing");
  FittedPicture fitted;
  fitted.geometry.picture = {image.height, image.width};
  fitted.image = preprocessing.letterbox.set()
                     ? apply_letterbox(preprocessing, image, fitted.geometry)
                     : apply_resize_and_crop(preprocessing, image, fitted.geometry);
  fitted.geometry.input = {fitted.image.height, fitted.image.width};
  return fitted;
}

PreparedInput apply(const Preprocessing& preprocessing, const Image& image) {
  const FittedPicture fitted = fit(preprocessing, image);
  return {to_tensor(preprocessing, fitted.image), fitted.geometry};
}

PictureSize fixed_input_size(const Graph& graph) {
  if (graph.inputs.empty()) return {};
  const std::optional<SymbolicShape>& shape = graph.value(graph.inputs.front()).shape;
  if (!shape || shape->size() != 4) return {};
  const Dim& channels = (*shape)[1];
  const Dim& height = (*shape)[2];
  const Dim& width = (*shape)[3];
  const bool colored = !channels.known() || channels.value == 3;
  const bool sane =
      height.value >= 1 && height.value <= kMaxSide && width.value >= 1 && width.value <= kMaxSide;
  if (!colored || !sane) return {};
  return {height.value, width.value};
}

}  // namespace ounce::tasks
