#include <cmath>

#include "graph/error.h"
#include "tasks/classification/accuracy.h"
#include "tasks/task.h"

namespace ounce::tasks {
namespace {

constexpr int64_t kShown = 5;

class ClassificationTask final : public Task {
 public:
  using Task::Task;
  ClassificationTask(Preprocessing preprocessing, std::vector<std::string> names)
      : Task(std::move(preprocessing), std::move(names)) {}

  std::string_view name() const override { return "classification"; }
  std::string_view main_metric() const override { return "top1"; }

  Prediction interpret(std::span<const Tensor> outputs, const Geometry&) const override {
    if (outputs.empty()) throw Error("the network has no output", "classification");
    Prediction prediction;
    prediction.class_count = outputs.front().size();
    for (const RankedClass& entry : top_probabilities(outputs.front(), kShown)) {
      prediction.classes.push_back(entry.class_index);
      prediction.scores.push_back(entry.score);
    }
    return prediction;
  }

  bool can_judge(const Dataset& dataset) const override { return dataset.has_classes(); }

  void begin(const Dataset& dataset) override {
    if (!can_judge(dataset)) {
      throw Error("a " + std::string(to_string(dataset.kind)) + " data set has no class labels",
                  dataset.root.string(), "a folder of class folders, or a list of 'path label'");
    }
    accuracy_ = {};
  }

  void add(const Sample& sample, const Prediction& prediction) override {
    if (sample.class_index >= prediction.class_count) {
      throw Error("class " + std::to_string(sample.class_index) + ", but the network tells " +
                      std::to_string(prediction.class_count) + " classes apart",
                  sample.name,
                  "labels counted from 0; folders called by numbers are taken at their word");
    }
    std::vector<RankedClass> ranked;
    for (size_t i = 0; i < prediction.classes.size(); ++i) {
      ranked.push_back({prediction.classes[i], prediction.scores[i]});
    }
    accuracy_.add(sample.class_index, ranked);
  }

  std::map<std::string, double> metrics() const override { return accuracy_.metrics(); }

  std::vector<Finding> findings(const Prediction& prediction) const override {
    std::vector<Finding> shown;
    for (size_t i = 0; i < prediction.classes.size(); ++i) {
      const int64_t index = prediction.classes[i];
      shown.push_back({class_name(index), prediction.scores[i], index, false, {}});
    }
    return shown;
  }

  Image draw(const Image& image, const Prediction& prediction) const override {
    std::vector<std::string> lines;
    for (const Finding& finding : findings(prediction)) {
      lines.push_back(percent(finding.score) + " " + finding.label);
    }
    return draw_text(image, lines);
  }

 private:
  static std::string percent(double share) {
    return std::to_string(std::lround(share * 100)) + "%";
  }

  Accuracy accuracy_;
};

}  // namespace

std::unique_ptr<Task> make_classification(Preprocessing preprocessing,
                                          std::vector<std::string> class_names) {
  validate(preprocessing);
  return std::make_unique<ClassificationTask>(std::move(preprocessing), std::move(class_names));
}

}  // namespace ounce::tasks
