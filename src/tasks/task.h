#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "tasks/dataset.h"
#include "tasks/detection/detection.h"
#include "tasks/detection/head.h"
#include "tasks/preprocess.h"
#include "tasks/text_detection/text_regions.h"

namespace ounce::tasks {

/// What a network says about one picture.
struct Prediction {
  /// Classification: best classes first, scores as probabilities.
  std::vector<int64_t> classes;
  /// Detection: boxes in picture pixels, best first.
  std::vector<Detection> detections;
  /// Scores of `classes`.
  std::vector<double> scores;
  /// Classification: how many classes the network tells apart.
  int64_t class_count = 0;
  /// Text detection: regions in picture pixels, best first.
  std::vector<TextRegion> regions;
  /// Super-resolution: the enlarged picture; empty for other tasks.
  Image picture;
};

/// One line for a person: "0.87 tench" or "0.91 dog (12, 30)-(204, 399)".
struct Finding {
  std::string label;
  double score = 0;
  int64_t class_index = 0;
  bool has_box = false;
  Box box;  // picture pixels, when `has_box`
};

/// What a network is for: turns pictures into inputs, outputs into answers, answers into figures.
/// Runs nothing itself, so that any runtime can be judged with it.
class Task {
 public:
  virtual ~Task() = default;

  /// One of `task_names()`.
  virtual std::string_view name() const = 0;

  /// The metric that counts most: "top1", "ap", "psnr" or "hmean".
  virtual std::string_view main_metric() const = 0;

  /// What a metric is measured in: "%" for shares in 0..1, "dB", or "" for a plain number.
  virtual std::string_view unit_of(std::string_view metric) const;

  const Preprocessing& preprocessing() const { return preprocessing_; }
  const std::vector<std::string>& class_names() const { return class_names_; }

  /// Network input and geometry for one picture.
  PreparedInput prepare(const Image& image) const { return apply(preprocessing_, image); }

  /// The same for a picture of a data set. Super-resolution judges by the picture itself, and makes
  /// a small one of it that the network is to enlarge.
  virtual PreparedInput prepare(const Sample& sample, const Image& image) const;

  /// What the outputs of one run mean. Throws `Error` when they do not fit the task.
  virtual Prediction interpret(std::span<const Tensor> outputs, const Geometry& geometry) const = 0;

  /// Whether the data set has what the task judges by.
  virtual bool can_judge(const Dataset& dataset) const = 0;

  /// Checks that the data set has the labels that the task judges by, and fits its classes to the
  /// network's; forgets what was added. Throws `Error`.
  virtual void begin(const Dataset& dataset) = 0;

  /// Adds one judged picture of the data set given to `begin`.
  virtual void add(const Sample& sample, const Prediction& prediction) = 0;

  /// Means so far, in the units of `unit_of`: classification "top1", "top5"; detection "ap",
  /// "ap50", ...; super-resolution "psnr", "ssim"; text detection "hmean", "precision", "recall".
  virtual std::map<std::string, double> metrics() const = 0;

  /// The answers worth showing to a person, best first.
  virtual std::vector<Finding> findings(const Prediction& prediction) const = 0;

  /// The picture with the findings drawn on it; the enlarged picture.
  virtual Image draw(const Image& image, const Prediction& prediction) const = 0;

  /// Writes preprocessing, class names and head into the model's metadata, so that the file needs
  /// no options again.
  virtual void store(Graph& graph) const;

  /// "tench", or "class 0" without names.
  std::string class_name(int64_t class_index) const;

 protected:
  Task(Preprocessing preprocessing, std::vector<std::string> class_names)
      : preprocessing_(std::move(preprocessing)), class_names_(std::move(class_names)) {}

 private:
  Preprocessing preprocessing_;
  std::vector<std::string> class_names_;
};

std::unique_ptr<Task> make_classification(Preprocessing preprocessing,
                                          std::vector<std::string> class_names = {});
/// Uses `head.input` as preprocessing.
std::unique_ptr<Task> make_detection(HeadDescription head);
/// The network makes pictures `scale` times as high and wide; pictures keep their size. Throws
/// `Error` where the preprocessing changes it.
std::unique_ptr<Task> make_super_resolution(Preprocessing preprocessing, int64_t scale);

/// The network makes a map of where text stands. Throws `Error` where the preprocessing leaves
/// pictures their size.
std::unique_ptr<Task> make_text_detection(Preprocessing preprocessing);

/// What the command line says about a task; everything may be left empty.
struct TaskOptions {
  std::string task = {};              // one of `task_names()`
  PreprocessOptions preprocess = {};  // on top of what the model stores
  std::filesystem::path model = {};  // a head description is looked for beside it: same stem, .toml
  std::filesystem::path head = {};   // or here
  std::filesystem::path classes = {};  // file with one class name a line
};

/// The task of a model: the one that the options or the model's metadata name, else detection where
/// there is a head description, super-resolution where the output is a picture and larger than the
/// input, else classification. Preprocessing and head come from the options, else from the model's
/// metadata, else from the description beside the model, else (classification) ImageNet's, at the
/// model's fixed input size. Throws `Error` when a detector has no head description, or the result
/// does not fit the model's fixed input size.
std::unique_ptr<Task> make_task(const Graph& graph, const TaskOptions& options);

/// Names of the known tasks.
std::vector<std::string> task_names();

/// Runs a network once: inputs in, outputs out.
using RunModel = std::function<std::vector<Tensor>(std::span<const Tensor>)>;

struct EvaluationResult {
  std::map<std::string, double> metrics;
  int64_t pictures = 0;
  std::vector<SkippedSample> skipped;
};

/// Called after each picture with pictures done and in all; returning false stops early (the
/// figures so far are returned).
using EvaluationProgress = std::function<bool(int64_t done, int64_t total)>;

/// Judges `run` on a data set by `task`.
EvaluationResult evaluate(Task& task, const Dataset& dataset, const RunModel& run,
                          const EvaluationProgress& progress = nullptr);

inline constexpr const char* kClassesKey = "ounce.classes";
inline constexpr const char* kTaskKey = "ounce.task";  // a name as a JSON string

}  // namespace ounce::tasks
