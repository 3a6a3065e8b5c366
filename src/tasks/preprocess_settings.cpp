#include "tasks/preprocess_settings.h"

#include <nlohmann/json.hpp>

namespace ounce::tasks {
namespace {

PictureSize to_size(const std::vector<int64_t>& values, const Settings& settings,
                    const std::string& key) {
  if (values.empty() || values.size() > 2) {
    throw settings.error(key, "is not a size", "416 or [height, width]");
  }
  for (const int64_t value : values) {
    if (value < 0 || value > kMaxSide) throw settings.error(key, "is out of range");
  }
  return {values.front(), values.back()};
}

std::array<double, 3> to_colors(const std::vector<double>& values, const Settings& settings,
                                const std::string& key) {
  if (values.size() != 1 && values.size() != 3) {
    throw settings.error(key, "needs one number or three", "[red, green, blue]");
  }
  return {values.front(), values.size() == 3 ? values[1] : values.front(), values.back()};
}

}  // namespace

Preprocessing read_preprocessing(Settings& settings, Preprocessing base) {
  if (const auto value = settings.integer("resize", 0, kMaxSide)) base.resize_short = *value;
  if (const auto value = settings.integers("crop")) base.crop = to_size(*value, settings, "crop");
  if (const auto value = settings.integers("letterbox")) {
    base.letterbox = to_size(*value, settings, "letterbox");
  }
  if (const auto value = settings.flag("keep_ratio")) base.keep_ratio = *value;
  if (const auto value = settings.integer("pad", 0, 255)) base.pad_value = *value;
  if (const auto value = settings.choice("align", {"top_left", "center"})) {
    base.align = static_cast<LetterboxAlign>(*value);
  }
  if (const auto value =
          settings.choice("interpolation", {"nearest", "bilinear", "bicubic", "area"})) {
    base.interpolation = static_cast<Interpolation>(*value);
  }
  if (const auto value = settings.flag("antialias")) {
    base.antialias = *value ? Antialias::on : Antialias::off;
  }
  if (const auto value = settings.choice("channels", {"rgb", "bgr"})) {
    base.channels = static_cast<ChannelOrder>(*value);
  }
  if (const auto value = settings.choice("range", {"0..1", "0..255"})) {
    base.range = static_cast<PixelRange>(*value);
  }
  if (const auto value = settings.numbers("mean")) base.mean = to_colors(*value, settings, "mean");
  if (const auto value = settings.numbers("std")) base.std = to_colors(*value, settings, "std");
  try {
    validate(base);
  } catch (const Error& failure) {
    throw settings.error("letterbox", "and its neighbours: " + failure.message(), failure.where());
  }
  return base;
}

Preprocessing preprocessing_from_json(const std::string& text) {
  const toml::table table = parse_json(text, kPreprocessKey);
  Settings settings(table, kPreprocessKey, "");
  Preprocessing preprocessing = read_preprocessing(settings, {});
  settings.finish();
  return preprocessing;
}

std::string to_json(const Preprocessing& preprocessing) {
  nlohmann::ordered_json json;
  const auto put_size = [&](const char* key, const PictureSize& size) {
    if (size.set()) json[key] = {size.height, size.width};
  };
  if (preprocessing.resize_short > 0) json["resize"] = preprocessing.resize_short;
  put_size("crop", preprocessing.crop);
  put_size("letterbox", preprocessing.letterbox);
  json["keep_ratio"] = preprocessing.keep_ratio;
  json["pad"] = preprocessing.pad_value;
  json["align"] = preprocessing.align == LetterboxAlign::center ? "center" : "top_left";
  json["interpolation"] = std::string(to_string(preprocessing.interpolation));
  json["antialias"] = preprocessing.antialias == Antialias::on;
  json["channels"] = preprocessing.channels == ChannelOrder::rgb ? "rgb" : "bgr";
  json["range"] = preprocessing.range == PixelRange::unit ? "0..1" : "0..255";
  json["mean"] = preprocessing.mean;
  json["std"] = preprocessing.std;
  return json.dump();
}

}  // namespace ounce::tasks
