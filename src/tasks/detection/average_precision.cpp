#include "tasks/detection/average_precision.h"

#include <algorithm>

#include "graph/error.h"

namespace ounce::tasks {
namespace {

struct AreaRange {
  double low;
  double high;
  /// Both ends belong to the range, as in the protocol's reference implementation.
  bool holds(double area) const { return area >= low && area <= high; }
};

constexpr std::array<AreaRange, AveragePrecision::kAreas> kAreaRanges = {
    AreaRange{0, 1e10}, AreaRange{0, 32.0 * 32.0}, AreaRange{32.0 * 32.0, 96.0 * 96.0},
    AreaRange{96.0 * 96.0, 1e10}};

/// .50, .55 ... .95 with the rounding of ten evenly spaced doubles, as in the reference.
double overlap_threshold(size_t index) {
  constexpr double kStep = (0.95 - 0.5) / 9;
  return 0.5 + kStep * static_cast<double>(index);
}

/// Overlap with a crowd is the share of the detection that lies inside it.
double overlap(const Detection& detection, const ObjectLabel& object) {
  if (!object.crowd) return iou(detection.box, object.box);
  const double area = detection.box.area();
  return area > 0 ? intersection(detection.box, object.box) / area : 0.0;
}

struct Candidate {
  const ObjectLabel* object;
  bool ignored;
};

/// The object that a detection of these overlaps takes at `threshold`, or -1: the best one that
/// counts, else the best one to ignore. `candidates` holds those that count first.
int64_t best_match(const std::vector<Candidate>& candidates, const std::vector<double>& overlaps,
                   const std::vector<bool>& taken, double threshold) {
  double best = std::min(threshold, 1 - 1e-10);
  int64_t match = -1;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (taken[i] && !candidates[i].object->crowd) continue;
    const bool counts_already = match >= 0 && !candidates[static_cast<size_t>(match)].ignored;
    if (counts_already && candidates[i].ignored) break;
    if (overlaps[i] < best) continue;
    best = overlaps[i];
    match = static_cast<int64_t>(i);
  }
  return match;
}

}  // namespace

AveragePrecision::AveragePrecision(int64_t class_count) {
  if (class_count < 1) throw Error("needs at least one class", "average precision");
  classes_.resize(static_cast<size_t>(class_count));
}

void AveragePrecision::add(std::span<const ObjectLabel> objects,
                           std::span<const Detection> detections) {
  const auto class_count = static_cast<int64_t>(classes_.size());
  std::map<int64_t, std::pair<std::vector<ObjectLabel>, std::vector<Detection>>> by_class;
  const auto check = [&](int64_t index) {
    if (index < 0 || index >= class_count) {
      throw Error("class " + std::to_string(index) + " is not one of " +
                      std::to_string(class_count) + " classes",
                  "average precision", "the class list of the data set or of the model");
    }
    return index;
  };
  for (const ObjectLabel& object : objects) {
    by_class[check(object.class_index)].first.push_back(object);
  }
  for (const Detection& detection : detections) {
    by_class[check(detection.class_index)].second.push_back(detection);
  }
  for (auto& [index, pair] : by_class) {
    auto& [class_objects, class_detections] = pair;
    sort_by_score(class_detections);
    if (class_detections.size() > kMaxDetections) class_detections.resize(kMaxDetections);
    for (size_t area = 0; area < kAreas; ++area) {
      judge(class_objects, class_detections, area, classes_[static_cast<size_t>(index)][area]);
    }
  }
  ++pictures_;
}

void AveragePrecision::judge(std::span<const ObjectLabel> objects,
                             std::span<const Detection> detections, size_t area,
                             ClassArea& target) {
  const AreaRange range = kAreaRanges[area];
  std::vector<Candidate> candidates;
  for (const ObjectLabel& object : objects) {
    const bool ignored = object.crowd || object.difficult || !range.holds(object.area);
    candidates.push_back({&object, ignored});
    target.objects += ignored ? 0 : 1;
  }
  std::stable_partition(candidates.begin(), candidates.end(),
                        [](const Candidate& candidate) { return !candidate.ignored; });

  std::vector<std::vector<bool>> taken(kOverlaps, std::vector<bool>(candidates.size()));
  std::vector<double> overlaps(candidates.size());
  for (const Detection& detection : detections) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      overlaps[i] = overlap(detection, *candidates[i].object);
    }
    Judged& judged = target.judged.emplace_back();
    judged.score = detection.score;
    for (size_t t = 0; t < kOverlaps; ++t) {
      const int64_t match = best_match(candidates, overlaps, taken[t], overlap_threshold(t));
      judged.matched[t] = match >= 0;
      if (match >= 0) {
        taken[t][static_cast<size_t>(match)] = true;
        judged.ignored[t] = candidates[static_cast<size_t>(match)].ignored;
      } else {
        judged.ignored[t] = !range.holds(detection.box.area());
      }
    }
  }
}

AveragePrecision::Curve AveragePrecision::curve(const ClassArea& judged, size_t overlap) {
  if (judged.objects == 0) return {};
  std::vector<const Judged*> order;
  for (const Judged& detection : judged.judged) {
    if (!detection.ignored[overlap]) order.push_back(&detection);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const Judged* a, const Judged* b) { return a->score > b->score; });
  std::vector<double> precisions;
  std::vector<double> recalls;
  int64_t right = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    right += order[i]->matched[overlap] ? 1 : 0;
    precisions.push_back(static_cast<double>(right) / static_cast<double>(i + 1));
    recalls.push_back(static_cast<double>(right) / static_cast<double>(judged.objects));
  }
  for (size_t i = precisions.size(); i > 1; --i) {
    precisions[i - 2] = std::max(precisions[i - 2], precisions[i - 1]);
  }
  double sum = 0;
  for (int step = 0; step <= 100; ++step) {
    const auto reached = std::lower_bound(recalls.begin(), recalls.end(), 0.01 * step);
    if (reached != recalls.end()) sum += precisions[static_cast<size_t>(reached - recalls.begin())];
  }
  return {sum / 101, recalls.empty() ? 0.0 : recalls.back()};
}

std::map<std::string, double> AveragePrecision::metrics() const {
  /// Mean over classes with objects, of overlaps first .. last.
  const auto mean = [&](size_t area, size_t first, size_t last, double Curve::*figure) {
    double sum = 0;
    int64_t count = 0;
    for (const auto& areas : classes_) {
      for (size_t t = first; t <= last; ++t) {
        const double value = curve(areas[area], t).*figure;
        if (value < 0) continue;
        sum += value;
        ++count;
      }
    }
    return count > 0 ? sum / static_cast<double>(count) : -1.0;
  };
  const size_t last = kOverlaps - 1;
  std::map<std::string, double> all = {
      {"ap", mean(0, 0, last, &Curve::precision)},
      {"ap50", mean(0, 0, 0, &Curve::precision)},
      {"ap75", mean(0, 5, 5, &Curve::precision)},
      {"ap_small", mean(1, 0, last, &Curve::precision)},
      {"ap_medium", mean(2, 0, last, &Curve::precision)},
      {"ap_large", mean(3, 0, last, &Curve::precision)},
      {"ar100", mean(0, 0, last, &Curve::recall)},
  };
  std::erase_if(all, [](const auto& entry) { return entry.second < 0; });
  return all;
}

double AveragePrecision::of_class(int64_t class_index) const {
  if (class_index < 0 || class_index >= static_cast<int64_t>(classes_.size())) {
    throw Error("no class " + std::to_string(class_index), "average precision");
  }
  double sum = 0;
  for (size_t t = 0; t < kOverlaps; ++t) {
    const double value = curve(classes_[static_cast<size_t>(class_index)][0], t).precision;
    if (value < 0) return -1;
    sum += value;
  }
  return sum / static_cast<double>(kOverlaps);
}

}  // namespace ounce::tasks
