#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "cli/calibration_inputs.h"
#include "cli/commands.h"
#include "cli/examine.h"
#include "cli/model_input.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/provenance.h"
#include "cli/quantize_options.h"
#include "cli/trainer.h"
#include "formats/formats.h"
#include "graph/error.h"
#include "quantize/compare.h"
#include "quantize/input_check.h"
#include "quantize/plan_notes.h"
#include "quantize/quantizer.h"
#include "report/format.h"
#include "report/html.h"
#include "report/measurement.h"
#include "report/quantization.h"
#include "report/summary.h"

namespace ounce::cli {
namespace {

constexpr int kWorstTensors = 6;  // histograms on the page

/// One run of `ounce quantize`: the steps in order, and what they hand to each other.
class QuantizeRun {
 public:
  QuantizeRun(const QuantizeOptions& options, const Invocation& invocation);

  int plan_only();
  int carry_out();

 private:
  std::unique_ptr<CalibrationInputs> make_inputs(const DataOptions& data) const;
  void doubt_inputs();
  void compress();
  void write_models();
  void measure();
  void judge();
  std::map<std::string, double> metrics_of(const Graph& graph, tasks::Task& task,
                                           const tasks::Dataset& dataset, const std::string& stage);
  void compare_tensors();
  void describe();
  void note_layers();
  void note_transforms();
  void note_slowness();
  void write_reports();
  report::Json manifest() const;

  const QuantizeOptions& options_;
  const Invocation& invocation_;
  methods::Request request_;
  const methods::Method& method_;
  Graph graph_;
  Progress progress_;
  StageClock clock_;
  report::Compression report_;
  std::unique_ptr<CalibrationInputs> inputs_;
  std::optional<StagedOutput> output_;
  quantize::QuantizeResult result_;
  engine::KernelHints kernel_hints_;
};

QuantizeRun::QuantizeRun(const QuantizeOptions& options, const Invocation& invocation)
    : options_(options),
      invocation_(invocation),
      request_(make_request(options)),
      method_(methods::find_method(options.method)),
      graph_(load_model(options.model)),
      progress_(options.common) {
  report_.provenance = make_provenance(invocation, options.common, options.model);
  if (options.dry_run) return;  // needs no data
  DataOptions data = options.data;
  data.limit = options.calibration;
  inputs_ = make_inputs(data);
  report_.provenance.data = data.data;
  report_.provenance.data_items = inputs_->items();
  report_.provenance.data_hash = inputs_->hash();
}

std::unique_ptr<CalibrationInputs> QuantizeRun::make_inputs(const DataOptions& data) const {
  return std::make_unique<CalibrationInputs>(data, graph_, options_.model, options_.task,
                                             options_.common.seed);
}

int QuantizeRun::plan_only() {
  const quantize::Options settings = methods::configure(method_, request_);
  const quantize::DryRun dry = quantize::dry_run(
      graph_, settings, report::input_shapes_if_known(graph_, {}).value_or(std::vector<Shape>()));
  report::Json json{{"bits", bits_label(request_)},
                    {"planned", dry.plan.layers.size()},
                    {"calibration_bytes", dry.calibration_bytes},
                    {"layers", report::Json::array()},
                    {"kept_float", report::Json::array()}};
  const auto planned = quantize::planned_layers(dry.prepared, dry.plan);
  for (const report::Layer& layer : report::layers_of(dry.prepared, planned)) {
    json["layers"].push_back(report::to_json(layer));
  }
  for (const quantize::KeptFloat& kept : dry.plan.kept_float) {
    json["kept_float"].push_back({{"name", kept.node}, {"op", kept.op}, {"reason", kept.reason}});
  }
  json["notes"] = report::Json::array();
  for (const quantize::PlanNote& note : quantize::plan_notes(dry.prepared, dry.plan)) {
    json["notes"].push_back({{"topic", note.topic}, {"text", note.text}});
  }
  std::string text = quantize::to_text(dry.prepared, dry.plan);
  for (const std::string& line : quantize::transform_places(dry.prepared, settings)) {
    json["notes"].push_back({{"topic", "transform"}, {"text", line}});
    text += "transform: " + line + ", each where it pays\n";
  }
  text += fmt::format("calibration needs at most {}\n", report::bytes_text(dry.calibration_bytes));
  print_result(options_.common, json, text);
  return 0;
}

int QuantizeRun::carry_out() {
  output_.emplace(output_folder(options_, request_));
  clock_.finish(report_.provenance, "read");
  compress();
  doubt_inputs();
  measure();
  write_models();
  compare_tensors();
  judge();
  describe();
  write_reports();
  output_->commit();
  const std::string where = output_folder(options_, request_).string();
  print_result(options_.common, report::to_json(report_),
               report::summary_text(report_) + "\nwritten to " + report::printable(where) + "\n");
  return 0;
}

/// Pictures that calibrate badly are no error: the user may know why.
void QuantizeRun::doubt_inputs() {
  if (options_.data.data == "none") return;
  for (const std::string& doubt :
       quantize::doubts_about(quantize::input_variety(inputs_->source()))) {
    fmt::print(stderr, "ounce: warning: {}\n", doubt);
    report_.notes.push_back(doubt);
  }
}

void QuantizeRun::compress() {
  const quantize::Options settings = methods::configure(method_, request_);
  quantize::Refinement refine;
  if (quantize::is_learned(settings.rounding)) {
    refine = invocation_.tuner(settings, options_.common.seed);
  }
  result_ =
      methods::run(method_, graph_, request_, inputs_->source(), quantize_hooks(progress_), refine);
  progress_.clear();
  clock_.finish(report_.provenance, "quantize");
  warn_skipped(inputs_->skipped(), inputs_->items());
  report_.provenance.skipped = skipped_lines(inputs_->skipped());
}

void QuantizeRun::write_models() {
  if (inputs_->task() != nullptr) inputs_->task()->store(result_.graph);
  // No times in here: equal settings and data give equal bytes but for the kernel hints.
  const report::Json origin{{"ounce", report_.provenance.versions[0].second},
                            {"method", options_.method},
                            {"weights", request_.weight_bits},
                            {"activations", request_.activation_bits},
                            {"dynamic", quantize::name_of(request_.activation_grid)},
                            {"bits", bits_label(request_)},
                            {"softmax", quantize::name_of(request_.softmax)},
                            {"seed", options_.common.seed},
                            {"model_hash", report_.provenance.model_hash},
                            {"data_hash", report_.provenance.data_hash}};
  result_.graph.metadata["ounce.origin"] = report::json_text(origin, -1);
  formats::write_model(result_.graph, output_->path("model.onnx"));
  // Only here does time come in: which kernel was fastest for a layer of few bits.
  engine::store_kernel_hints(result_.graph, kernel_hints_);
  formats::write_model(result_.graph, output_->path("model.ounce"));
  report_.before.file_bytes = file_bytes(options_.model);
  report_.after.file_bytes = file_bytes(output_->path("model.ounce"));
}

void QuantizeRun::measure() {
  inputs_->source().restart();
  const std::optional<std::vector<Tensor>> inputs = inputs_->source().next();
  const std::vector<const Graph*> graphs{&graph_, &result_.graph};
  report::MeasureOptions timing;
  timing.threads = options_.common.threads;
  timing.runs = options_.runs;
  const auto measured = report::measure_interleaved(
      graphs, inputs.value(), timing,
      [&](int64_t done, int64_t total) { progress_.step("timing", done, total); });
  progress_.clear();
  report::ModelSide* sides[] = {&report_.before, &report_.after};
  for (size_t i = 0; i < measured.size(); ++i) {
    sides[i]->latency = measured[i].latency();
    sides[i]->weight_bytes = measured[i].weight_bytes;
    sides[i]->arena_bytes = measured[i].arena_bytes;
  }
  kernel_hints_ = measured.back().kernel_hints;
  if (!result_.latency) {
    const quantize::DryRun dry = quantize::dry_run(graph_, methods::configure(method_, request_));
    result_.latency = quantize::compare_latency(result_.prepared, result_.graph, dry.plan, *inputs,
                                                options_.common.threads);
  }
  clock_.finish(report_.provenance, "time");
}

std::map<std::string, double> QuantizeRun::metrics_of(const Graph& graph, tasks::Task& task,
                                                      const tasks::Dataset& dataset,
                                                      const std::string& stage) {
  engine::Session session = open_session(graph, options_.common);
  return evaluate(task, dataset, session, progress_, stage).metrics;
}

void QuantizeRun::judge() {
  tasks::Task* const task = inputs_->task();
  if (task == nullptr) return;
  DataOptions data = options_.data;
  if (!options_.eval_data.empty()) {
    data.data = options_.eval_data;
    data.images = options_.eval_images;
  }
  const tasks::Dataset dataset = open_data(data);
  const bool labelled = task->name() == "detection" ? dataset.has_boxes() : dataset.has_classes();
  if (!labelled) {
    if (!options_.eval_data.empty()) {
      throw Error("has no labels for " + std::string(task->name()), options_.eval_data,
                  "labelled pictures, or no --eval-data");
    }
    return;
  }
  const auto before = metrics_of(graph_, *task, dataset, "judging float");
  const auto after = metrics_of(result_.graph, *task, dataset, "judging quantized");
  for (const auto& [name, value] : before) {
    report_.metrics.push_back({name, value, after.at(name), "%"});
  }
  clock_.finish(report_.provenance, "judge");
}

void QuantizeRun::compare_tensors() {
  if (options_.compare == 0) return;
  DataOptions data = options_.data;
  data.limit = options_.compare;
  const auto inputs = make_inputs(data);
  quantize::CompareOptions settings;
  settings.threads = options_.common.threads;
  settings.histograms = kWorstTensors;
  const quantize::Comparison comparison = quantize::compare(
      result_.prepared, result_.graph, inputs->source(), settings, quantize_hooks(progress_));
  report_.examination = examine(comparison, result_.prepared, result_.graph, inputs->source(),
                                options_.sensitivity, options_.common.threads, progress_);
  progress_.clear();
  report_.errors = report::errors_of(comparison);
  report_.histograms = report::histograms_of(comparison, result_);
  clock_.finish(report_.provenance, "compare");
}

void QuantizeRun::describe() {
  report_.model = std::filesystem::path(options_.model).filename().string();
  report_.method = options_.method;
  report_.settings = settings_text(request_);
  report_.before.label = "float";
  report_.after.label = bits_label(request_);
  report::add_quantization(report_, result_);
  if (result_.latency) report::add_latency(report_, *result_.latency, result_.prepared);
  if (!report_.provenance.skipped.empty()) {
    report_.notes.push_back(fmt::format("{} of {} calibration pictures could not be read",
                                        report_.provenance.skipped.size(),
                                        report_.provenance.data_items));
  }
  if (!report_.metrics.empty() && options_.eval_data.empty()) {
    report_.notes.push_back(
        "judged on the data that was also calibrated on (--eval-data names other pictures)");
  }
  note_layers();
  note_transforms();
  note_slowness();
  for (const char* name : {"model.ounce", "model.onnx", "manifest.json", "report.html"}) {
    report_.files.push_back((output_folder(options_, request_) / name).string());
  }
}

void QuantizeRun::note_layers() {
  std::vector<std::string> ends;
  for (const quantize::LayerRecord& layer : result_.layers) {
    if (layer.is_end) ends.push_back(layer.node);
  }
  const auto note = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty())
      report_.notes.push_back(fmt::format("{}: {}", what, fmt::join(names, ", ")));
  };
  note("first and last layers keep 8 bits (--option keep-ends8=off: no)", ends);
  note("embeddings are stored with 8 bits (--option embeddings8=off: no)", result_.embeddings);
  if (!result_.latency) return;
  note("few bits are no faster than 8 here, the weights are unpacked when the model is loaded",
       result_.latency->unpacked_layers);
}

void QuantizeRun::note_transforms() {
  std::map<std::string, std::pair<int64_t, int64_t>> kinds;  // tried, kept
  for (const quantize::TransformRecord& one : result_.transforms) {
    if (!one.obstacle.empty()) {
      report_.notes.push_back(
          fmt::format("{}: the stream of '{}' stays: {}", one.kind, one.node, one.obstacle));
      continue;
    }
    ++kinds[one.kind].first;
    kinds[one.kind].second += one.kept ? 1 : 0;
  }
  for (const auto& [kind, counts] : kinds) {
    report_.notes.push_back(
        fmt::format("{}: pays at {} of {} places", kind, counts.second, counts.first));
  }
}

void QuantizeRun::note_slowness() {
  const double before = report_.before.latency->median_ms;
  const double after = report_.after.latency->median_ms;
  if (after <= before) return;
  report_.notes.push_back(
      fmt::format("the quantized model is slower than the float model on this machine: {:.3f} ms "
                  "against {:.3f}",
                  after, before));
}

report::Json QuantizeRun::manifest() const {
  report::Json json = report::to_json(report_.provenance);
  json["method"] = options_.method;
  json["weights"] = request_.weight_bits;
  json["activations"] = request_.activation_bits;
  json["dynamic"] = quantize::name_of(request_.activation_grid);
  json["bits"] = bits_label(request_);
  json["options"] = request_.options;
  json["set"] = options_.overrides;
  json["float_bytes"] = report_.before.file_bytes;
  json["files"] = report::Json::array();
  for (const char* name : {"model.ounce", "model.onnx"}) {
    const std::filesystem::path path = output_->path(name);
    json["files"].push_back(
        {{"name", name}, {"bytes", file_bytes(path)}, {"hash", file_hash(path)}});
  }
  return json;
}

void QuantizeRun::write_reports() {
  output_->write_text("manifest.json", report::json_text(manifest()) + '\n');
  output_->write_text("report.html", report::html_page(report_));
}

/// Whether the trainer is needed, and another program has it.
bool is_for_the_trainer(const QuantizeOptions& options, const Invocation& invocation) {
  if (options.dry_run || invocation.tuner) return false;
  const methods::Request request = make_request(options);
  const auto& method = methods::find_method(options.method);
  return quantize::is_learned(methods::configure(method, request).rounding);
}

int quantize_model(const QuantizeOptions& options, const Invocation& invocation) {
  if (is_for_the_trainer(options, invocation)) return run_trainer(invocation.command);
  QuantizeRun run(options, invocation);
  return options.dry_run ? run.plan_only() : run.carry_out();
}

constexpr const char* kExamples =
    "  ounce quantize model.onnx -o out/ --data photos/ --method q-yolo --weights 8 --activations "
    "8\n"
    "  ounce quantize vit.onnx --data photos.txt --resize 248 --crop 224 --mean 0.5 --std 0.5\n"
    "  ounce quantize detector.onnx --data train.json --eval-data val.json\n"
    "  ounce quantize model.onnx --data photos/ --set 'head.*:weights=float'\n"
    "  ounce quantize model.onnx --data photos/ --weights ternary --set 'blocks.0.*:weights=4'\n"
    "  ounce quantize model.onnx --data none --weights 4 --activations f32\n"
    "  ounce quantize model.onnx --data none --weights 4 --activations 8 --dynamic token\n"
    "  ounce quantize model.onnx --dry-run\n";

}  // namespace

void add_quantize(CLI::App& app, Invocation& invocation) {
  add_command<QuantizeOptions>(app, invocation, "quantize",
                               "Make a model small and fast, and report what that cost", kExamples,
                               define_quantize, quantize_model);
}

}  // namespace ounce::cli
