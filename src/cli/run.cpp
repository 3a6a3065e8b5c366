#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/model_input.h"
#include "cli/output.h"
#include "cli/task_options.h"
#include "formats/npy.h"
#include "graph/error.h"
#include "report/format.h"

namespace ounce::cli {
namespace {

namespace fs = std::filesystem;

struct RunOptions {
  CommonOptions common;
  std::string model;
  std::vector<std::string> inputs;
  std::string output;
  TaskArguments task;
};

void define(CLI::App& app, RunOptions& options) {
  add_model_argument(app, options.model);
  app.add_option("--input", options.inputs,
                 "Pictures, one run each; or .npy tensors, one for each input of the model")
      ->required();
  app.add_option("-o,--output", options.output,
                 "Picture with the findings drawn, or enlarged (a folder for several pictures or "
                 "tensors)");
  add_task_options(app, options.task);
}

// ---- pictures ------------------------------------------------------------------------------

report::Json finding_json(const tasks::Finding& finding) {
  report::Json json{
      {"label", finding.label}, {"class", finding.class_index}, {"score", finding.score}};
  if (finding.has_box) {
    const tasks::Box& box = finding.box;
    json["box"] = {box.left, box.top, box.right, box.bottom};
  }
  return json;
}

std::string finding_text(const tasks::Finding& finding) {
  std::string text = fmt::format("  {:.3f}  {}", finding.score, report::printable(finding.label));
  if (finding.has_box) {
    const tasks::Box& box = finding.box;
    text += fmt::format("  ({:.0f}, {:.0f})-({:.0f}, {:.0f})", box.left, box.top, box.right,
                        box.bottom);
  }
  return text + '\n';
}

/// File names of the drawn pictures, different for pictures of equal names from different folders.
std::vector<std::string> drawing_names(const std::vector<std::string>& inputs) {
  std::vector<std::string> names;
  for (const std::string& input : inputs) {
    const std::string stem = fs::path(input).stem().string();
    std::string name = stem + ".png";
    for (int suffix = 2; std::find(names.begin(), names.end(), name) != names.end(); ++suffix) {
      name = stem + "-" + std::to_string(suffix) + ".png";
    }
    names.push_back(std::move(name));
  }
  return names;
}

int run_pictures(const RunOptions& options) {
  const Graph graph = load_model(options.model);
  const auto task = make_task(graph, options.model, options.task);
  engine::Session session = open_session(graph, options.common);
  const bool one_drawing = !options.output.empty() && options.inputs.size() == 1;
  std::optional<StagedFile> drawing;
  std::optional<StagedOutput> drawings;
  if (one_drawing) drawing.emplace(options.output);
  if (!options.output.empty() && !one_drawing) drawings.emplace(options.output);
  const std::vector<std::string> names = drawing_names(options.inputs);

  Progress progress(options.common);
  report::Json json = report::Json::array();
  std::string text;
  for (size_t i = 0; i < options.inputs.size(); ++i) {
    progress.step("running", static_cast<int64_t>(i), static_cast<int64_t>(options.inputs.size()));
    const tasks::Image image = tasks::read_image(options.inputs[i]);
    const tasks::PreparedInput input = task->prepare(image);
    const std::vector<Tensor> outputs = session.run(std::span(&input.pixels, 1));
    const tasks::Prediction prediction = task->interpret(outputs, input.geometry);
    report::Json findings = report::Json::array();
    text += report::printable(options.inputs[i]) + '\n';
    for (const tasks::Finding& finding : task->findings(prediction)) {
      findings.push_back(finding_json(finding));
      text += finding_text(finding);
    }
    report::Json result{{"file", options.inputs[i]}, {"findings", std::move(findings)}};
    if (const tasks::Image& made = prediction.picture; made.width > 0) {
      text += fmt::format("  {} x {} enlarged to {} x {}\n", image.width, image.height, made.width,
                          made.height);
      result["width"] = made.width;
      result["height"] = made.height;
    } else if (result["findings"].empty()) {
      text += "  nothing found\n";
    }
    json.push_back(std::move(result));
    if (drawing) tasks::write_image(task->draw(image, prediction), drawing->path());
    if (drawings) tasks::write_image(task->draw(image, prediction), drawings->path(names[i]));
  }
  progress.clear();
  if (drawing) drawing->commit();
  if (drawings) drawings->commit();
  print_result(options.common, {{"task", std::string(task->name())}, {"results", std::move(json)}},
               text);
  return 0;
}

// ---- tensors -------------------------------------------------------------------------------

struct TensorFigures {
  double low = 0;
  double high = 0;
  double mean = 0;
};

TensorFigures figures_of(const Tensor& tensor) {
  const std::vector<float> values = tensor.to_f32();
  if (values.empty()) return {};
  TensorFigures figures{values[0], values[0], 0};
  for (float value : values) {
    figures.low = std::min(figures.low, static_cast<double>(value));
    figures.high = std::max(figures.high, static_cast<double>(value));
    figures.mean += value;
  }
  figures.mean /= static_cast<double>(values.size());
  return figures;
}

/// An output's name as a file name.
std::string file_name_of(const std::string& value_name, size_t index) {
  std::string name = value_name;
  for (char& c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) == 0 && c != '_' && c != '-') c = '_';
  }
  return fmt::format("{}_{}.npy", index, name.substr(0, 100));
}

int run_tensors(const RunOptions& options) {
  const Graph graph = load_model(options.model);
  if (options.inputs.size() != graph.inputs.size()) {
    throw Error(fmt::format("{} tensors were given, the model has {} inputs", options.inputs.size(),
                            graph.inputs.size()),
                options.model, "one --input for each input, in order");
  }
  std::vector<Tensor> inputs;
  for (const std::string& path : options.inputs) inputs.push_back(formats::read_npy(path));
  engine::Session session = open_session(graph, options.common);
  const std::vector<Tensor> outputs = session.run(inputs);
  std::optional<StagedOutput> folder;
  if (!options.output.empty()) folder.emplace(options.output);
  report::Json json = report::Json::array();
  std::string text;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::string& name = graph.value(graph.outputs[i]).name;
    const TensorFigures figures = figures_of(outputs[i]);
    const std::string dtype(name_of(outputs[i].dtype()));
    json.push_back({{"name", name},
                    {"dtype", dtype},
                    {"shape", outputs[i].shape()},
                    {"min", figures.low},
                    {"max", figures.high},
                    {"mean", figures.mean}});
    text +=
        fmt::format("{}  {} {}  min {:.6g}  max {:.6g}  mean {:.6g}\n", report::printable(name),
                    dtype, to_string(outputs[i].shape()), figures.low, figures.high, figures.mean);
    if (folder) formats::write_npy(outputs[i], folder->path(file_name_of(name, i)));
  }
  if (folder) folder->commit();
  print_result(options.common, {{"outputs", std::move(json)}}, text);
  return 0;
}

int run(const RunOptions& options, const Invocation&) {
  const auto is_tensor = [](const std::string& path) { return path.ends_with(".npy"); };
  const auto tensors = std::count_if(options.inputs.begin(), options.inputs.end(), is_tensor);
  if (tensors == 0) return run_pictures(options);
  if (tensors == static_cast<std::ptrdiff_t>(options.inputs.size())) return run_tensors(options);
  throw UsageError("--input: pictures and .npy tensors cannot be mixed (try: two runs)");
}

constexpr const char* kExamples =
    "  ounce run vit.onnx --input cat.jpg --classes imagenet.txt\n"
    "  ounce run detector.ounce --input street.jpg -o street-boxes.png\n"
    "  ounce run detector.ounce --input a.jpg b.jpg -o drawn/\n"
    "  ounce run super-resolution.ounce --input small.png -o large.png\n"
    "  ounce run model.onnx --input tensor.npy -o outputs/\n";

}  // namespace

void add_run(CLI::App& app, Invocation& invocation) {
  add_command<RunOptions>(app, invocation, "run", "Run a model on pictures or tensors", kExamples,
                          define, run);
}

}  // namespace ounce::cli
