#include "tasks/task.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graph/error.h"
#include "tasks/super_resolution/scale.h"

namespace ounce::tasks {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> stored_class_names(const Graph& graph) {
  const auto entry = graph.metadata.find(kClassesKey);
  if (entry == graph.metadata.end()) return {};
  const nlohmann::json json = nlohmann::json::parse(entry->second, nullptr, false);
  const bool names = json.is_array() && std::all_of(json.begin(), json.end(), [](const auto& name) {
                       return name.is_string();
                     });
  if (!names) throw Error("is not a JSON list of names", kClassesKey);
  return json.get<std::vector<std::string>>();
}

/// The head description that applies, if any: given, stored, or beside the model.
std::optional<HeadDescription> find_head(const Graph& graph, const TaskOptions& options) {
  if (!options.head.empty()) return read_head(options.head);
  if (!options.task.empty() && options.task != "detection") return std::nullopt;
  if (const auto entry = graph.metadata.find(kHeadKey); entry != graph.metadata.end()) {
    return head_from_json(entry->second);
  }
  if (options.model.empty()) return std::nullopt;
  fs::path beside = options.model;
  beside.replace_extension(".toml");
  std::error_code failed;
  if (fs::is_regular_file(beside, failed)) return read_head(beside);
  return std::nullopt;
}

Error size_error(const PictureSize& wanted, const PictureSize& made) {
  const auto text = [](const PictureSize& size) {
    return std::to_string(size.height) + "x" + std::to_string(size.width);
  };
  return Error(
      "the model takes pictures of " + text(wanted) + ", the preprocessing makes " + text(made),
      "preprocessing", "--crop " + text(wanted) + " or --letterbox " + text(wanted));
}

void check_fits(const Preprocessing& preprocessing, const Graph& graph) {
  const PictureSize wanted = fixed_input_size(graph);
  const PictureSize made =
      preprocessing.letterbox.set() ? preprocessing.letterbox : preprocessing.crop;
  if (wanted.set() && made.set() && wanted != made) throw size_error(wanted, made);
}

Preprocessing classifier_preprocessing(const Graph& graph, const TaskOptions& options) {
  Preprocessing base;
  const PictureSize fixed = fixed_input_size(graph);
  if (const auto entry = graph.metadata.find(kPreprocessKey); entry != graph.metadata.end()) {
    base = preprocessing_from_json(entry->second);
  } else if (fixed.set()) {
    base = imagenet_preprocessing(std::min(fixed.height, fixed.width));
    base.crop = fixed;
  } else if (options.preprocess.crop.empty() && options.preprocess.letterbox.empty()) {
    throw Error("the model's input size is not fixed and nothing says what it wants",
                "preprocessing", "--resize 256 --crop 224");
  } else {
    base = imagenet_preprocessing(1);
    base.resize_short = 0;
    base.crop = {};
  }
  return with_options(base, options.preprocess);
}

/// The task that is asked for, or that the model's metadata name; "" for neither.
std::string named_task(const Graph& graph, const TaskOptions& options) {
  const std::vector<std::string> known = task_names();
  const auto is_known = [&](const std::string& name) {
    return std::find(known.begin(), known.end(), name) != known.end();
  };
  if (!options.task.empty()) {
    if (is_known(options.task)) return options.task;
    throw Error("unknown task '" + options.task + "'", "--task",
                "classification, detection, super-resolution or text-detection");
  }
  const auto entry = graph.metadata.find(kTaskKey);
  if (entry == graph.metadata.end()) return {};
  const nlohmann::json json = nlohmann::json::parse(entry->second, nullptr, false);
  if (!json.is_string() || !is_known(json.get<std::string>())) {
    throw Error("names no task", kTaskKey, "--task");
  }
  return json.get<std::string>();
}

/// What the model stores, if anything, with the options on top.
Preprocessing stored_preprocessing(const Graph& graph, const TaskOptions& options) {
  Preprocessing base;
  if (const auto entry = graph.metadata.find(kPreprocessKey); entry != graph.metadata.end()) {
    base = preprocessing_from_json(entry->second);
  }
  return with_options(base, options.preprocess);
}

std::unique_ptr<Task> super_resolution(const Graph& graph, const TaskOptions& options) {
  const std::optional<int64_t> scale = enlargement(graph);
  if (!scale) {
    throw Error("the network makes no larger picture [1, 3, height, width] of its input",
                options.model.empty() ? "super-resolution" : options.model.string(),
                "--task classification or detection");
  }
  return make_super_resolution(stored_preprocessing(graph, options), *scale);
}

}  // namespace

std::string_view Task::unit_of(std::string_view) const {
  return "%";
}

PreparedInput Task::prepare(const Sample&, const Image& image) const {
  return prepare(image);
}

std::string Task::class_name(int64_t class_index) const {
  const bool named = class_index >= 0 && class_index < static_cast<int64_t>(class_names_.size());
  return named ? class_names_[static_cast<size_t>(class_index)]
               : "class " + std::to_string(class_index);
}

void Task::store(Graph& graph) const {
  graph.metadata[kPreprocessKey] = to_json(preprocessing_);
  if (!class_names_.empty()) {
    graph.metadata[kClassesKey] =
        nlohmann::json(class_names_).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
}

std::vector<std::string> task_names() {
  return {"classification", "detection", "super-resolution", "text-detection"};
}

std::unique_ptr<Task> make_task(const Graph& graph, const TaskOptions& given) {
  TaskOptions options = given;
  options.task = named_task(graph, given);
  if (options.task == "super-resolution") return super_resolution(graph, options);
  if (options.task == "text-detection") {
    Preprocessing preprocessing = stored_preprocessing(graph, options);
    check_fits(preprocessing, graph);
    return make_text_detection(std::move(preprocessing));
  }
  std::vector<std::string> names =
      options.classes.empty() ? stored_class_names(graph) : read_class_names(options.classes);
  std::optional<HeadDescription> head = find_head(graph, options);
  if (!head && options.task == "detection") {
    throw Error("nothing says how to read the boxes of this detector",
                options.model.empty() ? "head description" : options.model.string(),
                "a description beside the model (same name, .toml) or --head FILE");
  }
  if (!head && options.task.empty() && enlargement(graph)) return super_resolution(graph, options);
  if (head) {
    if (const auto stored = graph.metadata.find(kPreprocessKey);
        stored != graph.metadata.end() && options.head.empty()) {
      head->input = preprocessing_from_json(stored->second);
    }
    head->input = with_options(head->input, options.preprocess);
    if (!options.classes.empty()) {
      if (static_cast<int64_t>(names.size()) != head->class_count) {
        throw Error("holds " + std::to_string(names.size()) + " names, the head has " +
                        std::to_string(head->class_count) + " classes",
                    options.classes.string());
      }
      head->classes = std::move(names);
    }
    check_fits(head->input, graph);
    return make_detection(std::move(*head));
  }
  Preprocessing preprocessing = classifier_preprocessing(graph, options);
  check_fits(preprocessing, graph);
  return make_classification(std::move(preprocessing), std::move(names));
}

EvaluationResult evaluate(Task& task, const Dataset& dataset, const RunModel& run,
                          const EvaluationProgress& progress) {
  task.begin(dataset);
  DatasetStream stream(dataset);
  EvaluationResult result;
  while (const std::optional<DatasetStream::Item> item = stream.next()) {
    const PreparedInput input = task.prepare(*item->sample, item->image);
    const std::vector<Tensor> outputs = run({&input.pixels, 1});
    task.add(*item->sample, task.interpret(outputs, input.geometry));
    ++result.pictures;
    if (progress && !progress(stream.position(), dataset.size())) break;
  }
  result.metrics = task.metrics();
  result.skipped = stream.skipped();
  return result;
}

}  // namespace ounce::tasks
