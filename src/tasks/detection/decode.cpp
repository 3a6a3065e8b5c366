#include "tasks/detection/decode.h"

#include <cmath>
#include <optional>

#include "graph/error.h"

namespace ounce::tasks {
namespace {

/// More candidates than any suppression should look at; the best are kept.
constexpr size_t kMaxCandidates = 30'000;

/// Candidates of one level in an output tensor, wherever their values lie:
/// value k of anchor a at cell c is data[a * anchor_step + c * cell_step + k * value_step].
struct Level {
  const float* data = nullptr;
  int64_t anchor_step = 0;
  int64_t cell_step = 0;
  int64_t value_step = 0;
  int64_t anchors = 1;
  int64_t cells = 0;
  int64_t columns = 1;  // cells a row
  double stride = 1;
  const std::vector<double>* anchor_sizes = nullptr;

  const float* at(int64_t anchor, int64_t cell) const {
    return data + anchor * anchor_step + cell * cell_step;
  }
};

/// An output tensor seen as candidates of K values.
struct Candidates {
  std::vector<float> values;
  int64_t anchors = 1;
  int64_t cells = 0;  // for each anchor
  int64_t anchor_step = 0;
  int64_t cell_step = 0;
  int64_t value_step = 0;
  int64_t count() const { return anchors * cells; }
};

/// Matches the shape (batch dimension of 1 included) with the layouts that exporters write.
std::optional<Candidates> view(const HeadDescription& head, const Tensor& output) {
  const int64_t k = head.values_per_candidate();
  const int64_t a = head.anchors_per_cell();
  const Shape& shape = output.shape();
  if (shape.size() < 2 || (shape.size() > 2 && shape[0] != 1)) return std::nullopt;
  const Shape s(shape.begin() + (shape.size() > 2 ? 1 : 0), shape.end());
  Candidates found;
  const bool columns_first = head.style == HeadStyle::yolov8;
  if (s.size() == 2 && s[1] == k && !(columns_first && s[0] == k)) {  // [N, K]
    found = {{}, 1, s[0], 0, k, 1};
  } else if (s.size() == 2 && s[0] == k) {  // [K, N]
    found = {{}, 1, s[1], 0, 1, s[1]};
  } else if (s.size() == 3 && s[0] == a * k) {  // [A * K, H, W]
    const int64_t cells = s[1] * s[2];
    found = {{}, a, cells, k * cells, 1, cells};
  } else if (s.size() == 4 && s[0] == a && s[3] == k) {  // [A, H, W, K]
    const int64_t cells = s[1] * s[2];
    found = {{}, a, cells, cells * k, k, 1};
  } else {
    return std::nullopt;
  }
  found.values = output.to_f32();
  return found;
}

struct Grid {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t cells() const { return rows * columns; }
};

Grid grid_of(PictureSize input, int64_t stride) {
  return {(input.height + stride - 1) / stride, (input.width + stride - 1) / stride};
}

Error shape_error(const HeadDescription& head, std::span<const Tensor> outputs,
                  int64_t expected_candidates) {
  std::string got;
  for (const Tensor& output : outputs) {
    got += (got.empty() ? "" : ", ") + ounce::to_string(std::span<const int64_t>(output.shape()));
  }
  std::string wanted = "[1, ";
  wanted += head.decoded ? "N" : std::to_string(expected_candidates);
  wanted += ", " + std::to_string(head.values_per_candidate()) + "]";
  return Error("no output fits the head description: expected " + wanted +
                   " or the same by levels, got " + (got.empty() ? "nothing" : got),
               "style " + std::string(to_string(head.style)),
               "the number of classes, the strides and the input size in the description");
}

/// The levels of one concatenated output: level by level, anchor by anchor, cell by cell.
void split_levels(const HeadDescription& head, const Candidates& all, PictureSize input,
                  std::vector<Level>& levels) {
  int64_t first = 0;
  for (size_t i = 0; i < head.strides.size(); ++i) {
    const Grid grid = grid_of(input, head.strides[i]);
    Level& level = levels.emplace_back();
    level.data = all.values.data() + first * all.cell_step;
    level.anchors = head.anchors_per_cell();
    level.cells = grid.cells();
    level.columns = grid.columns;
    level.cell_step = all.cell_step;
    level.anchor_step = grid.cells() * all.cell_step;
    level.value_step = all.value_step;
    level.stride = static_cast<double>(head.strides[i]);
    if (!head.anchors.empty()) level.anchor_sizes = &head.anchors[i];
    first += level.anchors * level.cells;
  }
}

/// Finds the outputs that hold the candidates. `storage` keeps their values alive.
std::vector<Level> find_levels(const HeadDescription& head, std::span<const Tensor> outputs,
                               PictureSize input, std::vector<Candidates>& storage) {
  int64_t total = 0;
  for (const int64_t stride : head.strides) {
    total += grid_of(input, stride).cells() * head.anchors_per_cell();
  }
  for (const Tensor& output : outputs) {
    if (std::optional<Candidates> found = view(head, output)) storage.push_back(std::move(*found));
  }
  std::vector<Level> levels;
  for (const Candidates& found : storage) {
    if (head.decoded) {
      levels.push_back({found.values.data(), found.anchor_step, found.cell_step, found.value_step,
                        found.anchors, found.cells, 1, 1.0, nullptr});
      return levels;
    }
    if (found.anchors == 1 && found.count() == total) {
      split_levels(head, found, input, levels);
      return levels;
    }
  }
  for (size_t i = 0; i < head.strides.size() && !head.decoded; ++i) {
    const Grid grid = grid_of(input, head.strides[i]);
    for (const Candidates& found : storage) {
      if (found.count() != grid.cells() * head.anchors_per_cell()) continue;
      const bool flat = found.anchors == 1;  // [1, A * H * W, K]
      levels.push_back({found.values.data(),
                        flat ? grid.cells() * found.cell_step : found.anchor_step, found.cell_step,
                        found.value_step, head.anchors_per_cell(), grid.cells(), grid.columns,
                        static_cast<double>(head.strides[i]),
                        head.anchors.empty() ? nullptr : &head.anchors[i]});
      break;
    }
  }
  if (levels.empty() || levels.size() != head.strides.size()) {
    throw shape_error(head, outputs, total);
  }
  return levels;
}

double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

Box centred(double x, double y, double width, double height) {
  return {x - width / 2, y - height / 2, x + width / 2, y + height / 2};
}

/// Mean of the distribution that `bins` logits describe.
double expected_bin(const float* logits, int64_t step, int64_t bins) {
  double highest = logits[0];
  for (int64_t i = 1; i < bins; ++i) {
    highest = std::max(highest, static_cast<double>(logits[i * step]));
  }
  double sum = 0;
  double weighted = 0;
  for (int64_t i = 0; i < bins; ++i) {
    const double weight = std::exp(static_cast<double>(logits[i * step]) - highest);
    sum += weight;
    weighted += weight * static_cast<double>(i);
  }
  return weighted / sum;
}

/// Turns the values of one candidate into a box in input pixels and its scores.
class CandidateReader {
 public:
  CandidateReader(const HeadDescription& head, const Level& level) : head_(head), level_(level) {
    const bool distances =
        !head.decoded && (head.style == HeadStyle::yolov8 || head.style == HeadStyle::nanodet);
    distribution_ = distances;
    if (head.style == HeadStyle::yolov8) {
      first_score_ = distances ? 4 * head.bins : 4;
    } else if (head.style == HeadStyle::yolox || head.style == HeadStyle::yolov5) {
      first_score_ = 5;
      has_objectness_ = true;
    } else {
      first_box_ = head.class_count;
    }
  }

  /// Appends what candidate (anchor, cell) is worth.
  void read(int64_t anchor, int64_t cell, std::vector<Detection>& found) const {
    const float* values = level_.at(anchor, cell);
    const double objectness = has_objectness_ ? score(values, 4) : 1.0;
    if (objectness < head_.score_threshold) return;
    int64_t best = -1;
    double best_score = head_.score_threshold;
    for (int64_t c = 0; c < head_.class_count; ++c) {
      const double value = objectness * score(values, first_score_ + c);
      if (value < head_.score_threshold) continue;
      if (head_.multi_label) {
        append(values, anchor, cell, c, value, found);
      } else if (best < 0 || value > best_score) {
        best = c;
        best_score = value;
      }
    }
    if (best >= 0) append(values, anchor, cell, best, best_score, found);
  }

 private:
  double value(const float* values, int64_t k) const { return values[k * level_.value_step]; }
  double score(const float* values, int64_t k) const {
    return head_.activated ? value(values, k) : sigmoid(value(values, k));
  }

  void append(const float* values, int64_t anchor, int64_t cell, int64_t class_index, double score,
              std::vector<Detection>& found) const {
    const Box box = read_box(values, anchor, cell);
    const bool finite = std::isfinite(box.left) && std::isfinite(box.top) &&
                        std::isfinite(box.right) && std::isfinite(box.bottom);
    if (finite) found.push_back({box, class_index, score});
  }

  Box read_box(const float* values, int64_t anchor, int64_t cell) const {
    const int64_t row = cell / level_.columns;
    const double x = static_cast<double>(cell % level_.columns) + head_.cell_offset;
    const double y = static_cast<double>(row) + head_.cell_offset;
    const double stride = level_.stride;
    if (distribution_) return read_distances(values, x * stride, y * stride);
    const double a = value(values, first_box_);
    const double b = value(values, first_box_ + 1);
    const double c = value(values, first_box_ + 2);
    const double d = value(values, first_box_ + 3);
    if (head_.decoded) {
      return head_.box_format == BoxFormat::corners ? Box{a, b, c, d} : centred(a, b, c, d);
    }
    if (head_.style == HeadStyle::yolox) {
      return centred((a + x) * stride, (b + y) * stride, std::exp(c) * stride,
                     std::exp(d) * stride);
    }
    const std::vector<double>& sizes = *level_.anchor_sizes;
    const auto i = static_cast<size_t>(anchor) * 2;
    // YOLOv5: centre within +-0.5 beyond its cell, size up to four anchors. `activated` speaks of
    // the whole row, as its exporters apply the sigmoid to all of it.
    const auto unit = [&](double v) { return head_.activated ? v : sigmoid(v); };
    const double width = 2 * unit(c);
    const double height = 2 * unit(d);
    return centred((2 * unit(a) - 0.5 + x) * stride, (2 * unit(b) - 0.5 + y) * stride,
                   width * width * sizes[i], height * height * sizes[i + 1]);
  }

  /// Four distributions over the distance to each side, in cells.
  Box read_distances(const float* values, double x, double y) const {
    const auto distance = [&](int64_t side) {
      const float* logits = values + (first_box_ + side * head_.bins) * level_.value_step;
      return expected_bin(logits, level_.value_step, head_.bins) * level_.stride;
    };
    return {x - distance(0), y - distance(1), x + distance(2), y + distance(3)};
  }

  const HeadDescription& head_;
  const Level& level_;
  int64_t first_box_ = 0;
  int64_t first_score_ = 0;
  bool has_objectness_ = false;
  bool distribution_ = false;
};

}  // namespace

std::vector<Detection> decode(const HeadDescription& head, std::span<const Tensor> outputs,
                              PictureSize input) {
  std::vector<Candidates> storage;
  const std::vector<Level> levels = find_levels(head, outputs, input, storage);
  for (const Candidates& candidates : storage) {
    for (const float value : candidates.values) {
      if (std::isnan(value)) throw Error("the detector's output holds NaN", "decode");
    }
  }
  std::vector<Detection> found;
  for (const Level& level : levels) {
    const CandidateReader reader(head, level);
    for (int64_t anchor = 0; anchor < level.anchors; ++anchor) {
      for (int64_t cell = 0; cell < level.cells; ++cell) reader.read(anchor, cell, found);
    }
  }
  sort_by_score(found);
  if (found.size() > kMaxCandidates) found.resize(kMaxCandidates);
  return found;
}

std::vector<Detection> detect(const HeadDescription& head, std::span<const Tensor> outputs,
                              const Geometry& geometry) {
  std::vector<Detection> found =
      suppress(decode(head, outputs, geometry.input), head.nms_iou, head.max_detections);
  for (Detection& detection : found) detection.box = geometry.to_picture(detection.box);
  return found;
}

}  // namespace ounce::tasks
