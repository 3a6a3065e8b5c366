#include <algorithm>

#include "graph/error.h"
#include "tasks/task.h"
#include "tasks/text_detection/region_matches.h"

namespace ounce::tasks {
namespace {

class TextDetectionTask final : public Task {
 public:
  explicit TextDetectionTask(Preprocessing preprocessing)
      : Task(std::move(preprocessing), {"text"}) {}

  std::string_view name() const override { return "text-detection"; }
  std::string_view main_metric() const override { return "hmean"; }

  Prediction interpret(std::span<const Tensor> outputs, const Geometry& geometry) const override {
    const Shape wanted = {1, 1, geometry.input.height, geometry.input.width};
    if (outputs.empty() || outputs.front().shape() != wanted) {
      throw Error("the network's output is " +
                      (outputs.empty() ? "missing" : ounce::to_string(outputs.front().shape())) +
                      ", not a map " + ounce::to_string(wanted),
                  "text detection", "a network whose map is as large as its input");
    }
    Prediction prediction;
    prediction.regions = text_regions(outputs.front(), geometry);
    return prediction;
  }

  bool can_judge(const Dataset& dataset) const override { return dataset.has_regions(); }

  void begin(const Dataset& dataset) override {
    if (!can_judge(dataset)) {
      throw Error("a " + std::string(to_string(dataset.kind)) + " data set has no text regions",
                  dataset.root.string(), "MMOCR's JSON of text regions");
    }
    matches_ = {};
  }

  void add(const Sample& sample, const Prediction& prediction) override {
    matches_.add(sample.regions, prediction.regions);
  }

  std::map<std::string, double> metrics() const override { return matches_.metrics(); }

  std::vector<Finding> findings(const Prediction& prediction) const override {
    std::vector<Finding> shown;
    for (const TextRegion& region : prediction.regions) {
      shown.push_back({class_name(0), region.score, 0, true, bounds(region.outline)});
    }
    return shown;
  }

  Image draw(const Image& image, const Prediction& prediction) const override {
    std::vector<BoxMark> marks;
    for (const Finding& finding : findings(prediction)) marks.push_back({finding.box, "", 0});
    return draw_boxes(image, marks);
  }

  void store(Graph& graph) const override {
    Task::store(graph);
    graph.metadata[kTaskKey] = "\"text-detection\"";
  }

 private:
  RegionMatches matches_;
};

}  // namespace

std::unique_ptr<Task> make_text_detection(Preprocessing preprocessing) {
  validate(preprocessing);
  if (!preprocessing.letterbox.set() && !preprocessing.crop.set()) {
    throw Error("nothing says how large a picture the network takes", "preprocessing",
                "--letterbox 736x1280");
  }
  return std::make_unique<TextDetectionTask>(std::move(preprocessing));
}

}  // namespace ounce::tasks
