#include "tasks/detection/head.h"

#include <array>
#include <nlohmann/json.hpp>

#include "graph/error.h"
#include "tasks/dataset.h"
#include "tasks/preprocess_settings.h"
#include "tasks/read_file.h"

namespace ounce::tasks {
namespace {

const std::vector<std::string> kStyles = {"yolox", "yolov5", "yolov8", "nanodet"};
constexpr int64_t kMaxClasses = 100'000;
constexpr int64_t kMaxStride = 1024;
constexpr int64_t kMaxBins = 256;

/// What the published networks of a style do; a description needs to say only where it differs.
HeadDescription defaults_of(HeadStyle style) {
  HeadDescription head;
  head.style = style;
  head.input.letterbox = {416, 416};
  head.input.interpolation = Interpolation::bilinear;
  head.input.antialias = Antialias::off;
  switch (style) {
    case HeadStyle::yolox:
      head.input.channels = ChannelOrder::bgr;
      head.input.range = PixelRange::byte;
      break;
    case HeadStyle::yolov5:
    case HeadStyle::yolov8:
      head.decoded = true;
      head.cell_offset = style == HeadStyle::yolov8 ? 0.5 : 0;
      head.input.letterbox = {640, 640};
      head.input.align = LetterboxAlign::center;
      break;
    case HeadStyle::nanodet:
      head.strides = {8, 16, 32, 64};
      head.bins = 8;
      head.nms_iou = 0.6;
      head.input.keep_ratio = false;
      head.input.channels = ChannelOrder::bgr;
      head.input.range = PixelRange::byte;
      head.input.mean = {123.675, 116.28, 103.53};
      head.input.std = {58.395, 57.12, 57.375};
      break;
  }
  return head;
}

void read_classes(Settings& settings, const std::filesystem::path& folder, HeadDescription& head) {
  if (settings.is_integer("classes")) {
    head.class_count = *settings.integer("classes", 1, kMaxClasses);
    return;
  }
  if (settings.is_text("classes")) {
    try {
      head.classes = read_class_names(folder / *settings.text("classes"));
    } catch (const Error& failure) {
      throw settings.error("classes", "names a file that cannot be used: " + failure.message(),
                           "a file with one class name a line, beside the description");
    }
  } else if (auto names = settings.texts("classes")) {
    head.classes = std::move(*names);
  }
  head.class_count = static_cast<int64_t>(head.classes.size());
  if (head.class_count < 1 || head.class_count > kMaxClasses) {
    throw settings.error("classes", "must be given",
                         "a number, a list of names, or a file with one name a line");
  }
}

void read_geometry(Settings& settings, HeadDescription& head) {
  if (auto strides = settings.integers("strides")) {
    head.strides = std::move(*strides);
    if (head.strides.empty() || head.strides.size() > 16) {
      throw settings.error("strides", "needs 1 to 16 numbers");
    }
    for (const int64_t stride : head.strides) {
      if (stride < 1 || stride > kMaxStride) {
        throw settings.error("strides", "must lie in 1.." + std::to_string(kMaxStride));
      }
    }
  }
  if (const auto value = settings.choice("boxes", {"raw", "decoded"})) head.decoded = *value == 1;
  if (const auto value = settings.choice("box_format", {"center_size", "corners"})) {
    head.box_format = static_cast<BoxFormat>(*value);
  }
  if (const auto value = settings.integer("bins", 2, kMaxBins)) head.bins = *value;
  if (const auto value = settings.number("cell_offset", -1, 1)) head.cell_offset = *value;
  if (auto anchors = settings.rows("anchors")) head.anchors = std::move(*anchors);
}

void check_anchors(const Settings& settings, const HeadDescription& head) {
  if (head.anchors.empty()) {
    if (head.style == HeadStyle::yolov5 && !head.decoded) {
      throw settings.error("anchors", "must be given where boxes are raw",
                           "[[w, h, w, h, ...], ...], one row for each stride");
    }
    return;
  }
  if (head.style != HeadStyle::yolov5) {
    throw settings.error("anchors",
                         "has no meaning for style " + std::string(to_string(head.style)));
  }
  if (head.anchors.size() != head.strides.size()) {
    throw settings.error("anchors", "needs one row for each of the " +
                                        std::to_string(head.strides.size()) + " strides");
  }
  for (const std::vector<double>& row : head.anchors) {
    if (row.empty() || row.size() % 2 != 0 || row.size() > 64 ||
        row.size() != head.anchors.front().size()) {
      throw settings.error("anchors", "needs rows of equally many width, height pairs");
    }
    for (const double side : row) {
      if (!(side > 0 && side < 1e5)) throw settings.error("anchors", "must be above zero");
    }
  }
}

void read_limits(Settings& settings, HeadDescription& head) {
  if (const auto value = settings.flag("activated")) head.activated = *value;
  if (const auto value = settings.number("score_threshold", 0, 1)) head.score_threshold = *value;
  if (const auto value = settings.number("show_threshold", 0, 1)) head.show_threshold = *value;
  if (const auto value = settings.number("nms_iou", 0, 1)) head.nms_iou = *value;
  if (const auto value = settings.integer("max_detections", 1, 100'000)) {
    head.max_detections = *value;
  }
  if (const auto value = settings.flag("multi_label")) head.multi_label = *value;
}

/// A description in a file of its own may lean on defaults and name a file of classes; one stored
/// in a model is complete, and must not make the reader open other files.
enum class Source { file, stored };

HeadDescription head_from_table(const toml::table& table, const std::filesystem::path& file,
                                Source source) {
  Settings settings(table, file.string(), "");
  const auto style = settings.choice("style", kStyles);
  if (!style) throw settings.error("style", "must be given", "yolox, yolov5, yolov8 or nanodet");
  HeadDescription head = defaults_of(static_cast<HeadStyle>(*style));
  if (source == Source::stored) {
    head.input = {};
    if (settings.is_text("classes")) throw settings.error("classes", "must be a number or a list");
  }
  read_classes(settings, file.parent_path(), head);
  read_geometry(settings, head);
  read_limits(settings, head);
  check_anchors(settings, head);
  if (!head.decoded && head.style == HeadStyle::yolov8 && head.bins == 0) head.bins = 16;
  if (head.decoded && head.style == HeadStyle::nanodet) {
    throw settings.error("boxes", "is 'decoded', which no nanodet head does", "style = \"yolov8\"");
  }
  if (auto input = settings.section("input")) {
    // A description that asks for short-side scaling does not want the style's letterbox.
    if (input->has("resize") || input->has("crop")) head.input.letterbox = {};
    head.input = read_preprocessing(*input, head.input);
    input->finish();
  }
  settings.finish();
  return head;
}

}  // namespace

std::string_view to_string(HeadStyle style) {
  return kStyles[static_cast<size_t>(style)];
}

int64_t HeadDescription::values_per_candidate() const {
  switch (style) {
    case HeadStyle::yolox:
    case HeadStyle::yolov5:
      return 5 + class_count;
    case HeadStyle::yolov8:
      return class_count + (decoded ? 4 : 4 * bins);
    case HeadStyle::nanodet:
      return class_count + 4 * bins;
  }
  return 0;
}

int64_t HeadDescription::anchors_per_cell() const {
  return anchors.empty() ? 1 : static_cast<int64_t>(anchors.front().size()) / 2;
}

HeadDescription read_head(const std::filesystem::path& path) {
  return head_from_toml(read_text_file(path), path);
}

HeadDescription head_from_toml(const std::string& text, const std::filesystem::path& path) {
  return head_from_table(parse_toml(text, path.string()), path, Source::file);
}

HeadDescription head_from_json(const std::string& text) {
  return head_from_table(parse_json(text, kHeadKey), kHeadKey, Source::stored);
}

std::string to_json(const HeadDescription& head) {
  nlohmann::ordered_json json;
  json["style"] = std::string(to_string(head.style));
  if (head.classes.empty()) {
    json["classes"] = head.class_count;
  } else {
    json["classes"] = head.classes;
  }
  json["strides"] = head.strides;
  json["activated"] = head.activated;
  json["boxes"] = head.decoded ? "decoded" : "raw";
  json["box_format"] = head.box_format == BoxFormat::corners ? "corners" : "center_size";
  if (head.bins > 0) json["bins"] = head.bins;
  json["cell_offset"] = head.cell_offset;
  if (!head.anchors.empty()) json["anchors"] = head.anchors;
  json["score_threshold"] = head.score_threshold;
  json["show_threshold"] = head.show_threshold;
  json["nms_iou"] = head.nms_iou;
  json["max_detections"] = head.max_detections;
  json["multi_label"] = head.multi_label;
  json["input"] = nlohmann::ordered_json::parse(to_json(head.input));
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace ounce::tasks
