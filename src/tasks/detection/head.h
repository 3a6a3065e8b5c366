#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/preprocess.h"

namespace ounce::tasks {

/// The families of detection heads; K is the number of values that describe one candidate.
enum class HeadStyle {
  yolox,    // K = 5 + classes: dx, dy, log w, log h, objectness, scores; one candidate a cell
  yolov5,   // K = 5 + classes: as above around anchors of given size; one candidate an anchor
  yolov8,   // K = 4 + classes (boxes decoded in the graph) or 4 * bins + classes (raw)
  nanodet,  // K = classes + 4 * bins: scores, then four distance distributions
};
std::string_view to_string(HeadStyle style);

enum class BoxFormat { center_size, corners };

/// How the outputs of a detector become boxes. Written by hand as a small TOML beside the model
/// (see docs/tasks.md), stored in the model as JSON once given.
struct HeadDescription {
  HeadStyle style = HeadStyle::yolox;
  std::vector<int64_t> strides = {8, 16, 32};  // input pixels a cell, one for each level
  int64_t class_count = 0;
  std::vector<std::string> classes;               // names, empty or `class_count` of them
  bool activated = true;                          // scores left the graph as probabilities
  bool decoded = false;                           // boxes left the graph in input pixels
  BoxFormat box_format = BoxFormat::center_size;  // of decoded boxes
  int64_t bins = 0;        // length of a distance distribution (raw yolov8, nanodet)
  double cell_offset = 0;  // where in its cell a candidate's reference point lies
  /// Anchor widths and heights in input pixels, [levels][2 * anchors]: raw yolov5.
  std::vector<std::vector<double>> anchors;
  double score_threshold = 0.001;  // of candidates, for evaluation
  double show_threshold = 0.3;     // of boxes shown to a person
  double nms_iou = 0.65;
  int64_t max_detections = 100;
  bool multi_label = false;  // a candidate may be of several classes
  Preprocessing input;       // the [input] section

  /// Numbers that describe one candidate.
  int64_t values_per_candidate() const;
  /// Candidates a cell.
  int64_t anchors_per_cell() const;
};

/// Reads a head description; a class list may be a file relative to the description. Throws `Error`
/// with file, line and key.
HeadDescription read_head(const std::filesystem::path& path);
HeadDescription head_from_toml(const std::string& text, const std::filesystem::path& path);

/// One line of JSON as stored in `Graph::metadata[kHeadKey]`, class names included.
std::string to_json(const HeadDescription& head);
HeadDescription head_from_json(const std::string& text);

inline constexpr const char* kHeadKey = "ounce.head";

}  // namespace ounce::tasks
