#include <algorithm>

#include "graph/error.h"
#include "tasks/detection/average_precision.h"
#include "tasks/detection/decode.h"
#include "tasks/task.h"

namespace ounce::tasks {
namespace {

class DetectionTask final : public Task {
 public:
  explicit DetectionTask(HeadDescription head)
      : Task(head.input, head.classes), head_(std::move(head)), figures_(head_.class_count) {}

  std::string_view name() const override { return "detection"; }
  std::string_view main_metric() const override { return "ap"; }

  Prediction interpret(std::span<const Tensor> outputs, const Geometry& geometry) const override {
    Prediction prediction;
    prediction.detections = detect(head_, outputs, geometry);
    return prediction;
  }

  bool can_judge(const Dataset& dataset) const override { return dataset.has_boxes(); }

  void begin(const Dataset& dataset) override {
    if (!can_judge(dataset)) {
      throw Error("a " + std::string(to_string(dataset.kind)) + " data set has no boxes",
                  dataset.root.string(), "a COCO JSON or a VOC folder");
    }
    own_class_ = map_classes(dataset);
    figures_ = AveragePrecision(head_.class_count);
  }

  void add(const Sample& sample, const Prediction& prediction) override {
    std::vector<ObjectLabel> objects = sample.objects;
    for (ObjectLabel& object : objects) {
      object.class_index = own_class_.at(static_cast<size_t>(object.class_index));
    }
    figures_.add(objects, prediction.detections);
  }

  std::map<std::string, double> metrics() const override { return figures_.metrics(); }

  std::vector<Finding> findings(const Prediction& prediction) const override {
    std::vector<Finding> shown;
    for (const Detection& found : prediction.detections) {
      if (found.score < head_.show_threshold) continue;
      shown.push_back(
          {class_name(found.class_index), found.score, found.class_index, true, found.box});
    }
    return shown;
  }

  Image draw(const Image& image, const Prediction& prediction) const override {
    std::vector<BoxMark> marks;
    for (const Finding& finding : findings(prediction)) {
      const std::string percent = std::to_string(static_cast<int>(finding.score * 100 + 0.5));
      marks.push_back({finding.box, finding.label + " " + percent + "%", finding.class_index});
    }
    std::reverse(marks.begin(), marks.end());  // the best on top
    return draw_boxes(image, marks);
  }

  void store(Graph& graph) const override {
    Task::store(graph);
    graph.metadata[kHeadKey] = to_json(head_);
  }

 private:
  /// The network's class for each class of the data set: by name where the network's names are
  /// known and cover it, else by position when there are equally many.
  std::vector<int64_t> map_classes(const Dataset& dataset) const {
    std::vector<int64_t> mapped;
    for (const std::string& name : dataset.classes) {
      const auto found = std::find(head_.classes.begin(), head_.classes.end(), name);
      if (found == head_.classes.end()) break;
      mapped.push_back(found - head_.classes.begin());
    }
    if (mapped.size() == dataset.classes.size()) return mapped;
    if (static_cast<int64_t>(dataset.classes.size()) != head_.class_count) {
      throw Error("the data set has " + std::to_string(dataset.classes.size()) +
                      " classes, the detector " + std::to_string(head_.class_count),
                  dataset.root.string(),
                  "class names in the head description that match the data set's");
    }
    mapped.clear();
    for (int64_t i = 0; i < head_.class_count; ++i) mapped.push_back(i);
    return mapped;
  }

  HeadDescription head_;
  AveragePrecision figures_;
  std::vector<int64_t> own_class_;
};

}  // namespace

std::unique_ptr<Task> make_detection(HeadDescription head) {
  validate(head.input);
  if (head.class_count < 1) throw Error("the head has no classes", "head description");
  return std::make_unique<DetectionTask>(std::move(head));
}

}  // namespace ounce::tasks
