#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>

#include "cli/calibration_inputs.h"
#include "cli/commands.h"
#include "cli/compression_record.h"
#include "cli/model_input.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/quantize_options.h"
#include "cli/synthetic_pictures.h"
#include "cli/trainer.h"
#include "graph/error.h"
#include "quantize/analysis/input_check.h"
#include "quantize/plan/plan_notes.h"
#include "quantize/quantizer.h"
#include "report/format.h"
#include "report/measurement.h"
#include "report/quantization.h"
#include "report/summary.h"

namespace ounce::cli {
namespace {

/// How pictures are made; null where none are.
report::Json synthesis_json(const QuantizeOptions& options, const methods::Request& request) {
  if (!needs_synthesis(options, request)) return nullptr;
  return {{"goals", options.synthesis},
          {"steps", options.synthesis_steps},
          {"pictures", options.synthetic_pictures}};
}

/// What the command line asks for, in words for metadata and manifest.
report::Json request_json(const QuantizeOptions& options, const methods::Request& request) {
  return {{"weights", request.weight_bits},
          {"activations", request.activation_bits},
          {"dynamic", quantize::name_of(request.activation_grid)},
          {"bits", bits_label(request)},
          {"softmax", quantize::name_of(request.softmax)},
          {"options", request.options},
          {"synthesis", synthesis_json(options, request)},
          {"set", options.overrides}};
}

/// One run of `ounce quantize`: the steps in order, and what they hand to each other.
class QuantizeRun {
 public:
  QuantizeRun(const QuantizeOptions& options, const Invocation& invocation);

  int plan_only();
  int carry_out();

 private:
  std::unique_ptr<CalibrationInputs> make_inputs(const DataOptions& data) const;
  /// Beside the output, for a run that is stopped.
  std::filesystem::path tuned_blocks_file() const;
  void doubt_inputs();
  void compress();
  void judge();
  std::map<std::string, double> metrics_of(const Graph& graph, tasks::Task& task,
                                           const tasks::Dataset& dataset, const std::string& stage);
  void compare_tensors();

  const QuantizeOptions& options_;
  const Invocation& invocation_;
  methods::Request request_;
  const methods::Method& method_;
  Graph graph_;
  std::string preset_flags_;  // what a preset chose; it is in the request by now
  Progress progress_;
  CompressionRecord record_;
  std::optional<SyntheticPictures> synthetic_;
  std::unique_ptr<CalibrationInputs> inputs_;
  std::optional<StagedOutput> output_;
  quantize::QuantizeResult result_;
};

QuantizeRun::QuantizeRun(const QuantizeOptions& options, const Invocation& invocation)
    : options_(options),
      invocation_(invocation),
      request_(make_request(options)),
      method_(methods::find_method(options.method)),
      graph_(load_model(options.model)),
      preset_flags_(add_preset(request_, options, graph_)),
      progress_(options.common),
      record_({graph_, options.model, options.method, settings_text(request_), bits_label(request_),
               request_json(options, request_)},
              invocation, options.common) {
  if (options.dry_run) return;  // needs no data
  DataOptions data = options.data;
  data.limit = options.calibration;
  report::Provenance& provenance = record_.report().provenance;
  provenance.data = data.data;
  if (needs_synthesis(options, request_)) {
    synthetic_.emplace(graph_, *make_task(graph_, options.model, options.task),
                       synthesis_options(options), invocation, progress_);
    data.limit = 0;
    provenance.data +=
        fmt::format(" ({} pictures made from the network)", synthetic_->inputs().size());
    record_.finish("make pictures");
  }
  inputs_ = make_inputs(data);
  provenance.data_items = inputs_->items();
  provenance.data_hash = inputs_->hash();
}

std::unique_ptr<CalibrationInputs> QuantizeRun::make_inputs(const DataOptions& data) const {
  if (synthetic_) {
    return std::make_unique<CalibrationInputs>(synthetic_->inputs(), data.limit,
                                               make_task(graph_, options_.model, options_.task));
  }
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
  if (!preset_flags_.empty()) {
    json["notes"].push_back({{"topic", "preset"}, {"text", preset_flags_}});
    text += fmt::format("preset {}: {}\n", options_.preset, preset_flags_);
  }
  for (const std::string& line : quantize::transform_places(dry.prepared, settings)) {
    json["notes"].push_back({{"topic", "transform"}, {"text", line}});
    text += "transform: " + line + ", each where it pays\n";
  }
  text += fmt::format("calibration needs at most {}\n", report::bytes_text(dry.calibration_bytes));
  print_result(options_.common, json, text);
  return 0;
}

int QuantizeRun::carry_out() {
  const std::filesystem::path folder = output_folder(options_, request_);
  output_.emplace(folder);
  record_.finish("read");
  compress();
  doubt_inputs();
  record_.measure(result_, methods::configure(method_, request_), inputs_->source(), options_.runs,
                  progress_);
  record_.finish("time");
  record_.write_models(result_, inputs_->task(), *output_);
  compare_tensors();
  judge();
  record_.describe(result_, folder);
  if (!preset_flags_.empty()) {
    record_.report().notes.push_back(fmt::format("preset {}: {}", options_.preset, preset_flags_));
  }
  if (synthetic_) {
    record_.report().contact_sheet = synthetic_->write(*output_, inputs_->task()->preprocessing());
  }
  record_.write_reports(*output_, output_->path(""));
  output_->commit();
  std::filesystem::remove(tuned_blocks_file());
  print_result(options_.common, report::to_json(record_.report()),
               report::summary_text(record_.report()) + "\nwritten to " +
                   report::printable(folder.string()) + "\n");
  return 0;
}

/// Pictures that calibrate badly are no error: the user may know why.
void QuantizeRun::doubt_inputs() {
  if (options_.data.data == "none") return;
  for (const std::string& doubt :
       quantize::doubts_about(quantize::input_variety(inputs_->source()))) {
    fmt::print(stderr, "ounce: warning: {}\n", doubt);
    record_.report().notes.push_back(doubt);
  }
}

void QuantizeRun::compress() {
  const quantize::Options settings = methods::configure(method_, request_);
  quantize::Refinement refine;
  if (settings.needs_gradients()) {
    refine = invocation_.tuner(settings, {options_.common.seed, tuned_blocks_file(),
                                          report::json_text(record_.origin(), -1)});
  }
  result_ =
      methods::run(method_, graph_, request_, inputs_->source(), quantize_hooks(progress_), refine);
  progress_.clear();
  record_.finish("quantize");
  warn_skipped(inputs_->skipped(), inputs_->items());
  record_.report().provenance.skipped = skipped_lines(inputs_->skipped());
}

std::filesystem::path QuantizeRun::tuned_blocks_file() const {
  std::filesystem::path file = output_folder(options_, request_);
  if (!file.has_filename()) file = file.parent_path();
  return file += ".tuning";
}

std::map<std::string, double> QuantizeRun::metrics_of(const Graph& graph, tasks::Task& task,
                                                      const tasks::Dataset& dataset,
                                                      const std::string& stage) {
  engine::Session session = open_session(graph, options_.common);
  return evaluate(task, dataset, session, progress_, stage).metrics;
}

void QuantizeRun::judge() {
  // Arrays and what was made of noise have no labels.
  if (!inputs_->has_pictures() && options_.eval_data.empty()) return;
  std::unique_ptr<tasks::Task> of_eval_data;
  if (inputs_->task() == nullptr && !options_.eval_data.empty()) {
    of_eval_data = make_task(graph_, options_.model, options_.task);
  }
  tasks::Task* const task = of_eval_data ? of_eval_data.get() : inputs_->task();
  if (task == nullptr) return;
  DataOptions data = options_.data;
  if (!options_.eval_data.empty()) {
    data.data = options_.eval_data;
    data.images = options_.eval_images;
    data.low_resolution = options_.eval_low_resolution;
  }
  const tasks::Dataset dataset = open_data(data);
  if (!task->can_judge(dataset)) {
    if (!options_.eval_data.empty()) {
      throw Error("has no labels for " + std::string(task->name()), options_.eval_data,
                  "labelled pictures, or no --eval-data");
    }
    return;
  }
  const auto before = metrics_of(graph_, *task, dataset, "judging float");
  const auto after = metrics_of(result_.graph, *task, dataset, "judging quantized");
  for (const auto& [name, value] : before) {
    record_.report().metrics.push_back(
        {name, value, after.at(name), std::string(task->unit_of(name))});
  }
  if (options_.eval_data.empty()) {
    record_.report().notes.push_back(
        "judged on the data that was also calibrated on (--eval-data names other pictures)");
  }
  record_.finish("judge");
}

void QuantizeRun::compare_tensors() {
  if (options_.compare == 0) return;
  DataOptions data = options_.data;
  data.limit = options_.compare;
  record_.compare_tensors(result_, make_inputs(data)->source(), options_.sensitivity, progress_);
  record_.finish("compare");
}

/// Whether the trainer is needed, and another program has it.
bool is_for_the_trainer(const QuantizeOptions& options, const Invocation& invocation) {
  if (options.dry_run || invocation.tuner) return false;
  methods::Request request = make_request(options);
  if (!options.preset.empty()) add_preset(request, options, load_model(options.model));
  const auto& method = methods::find_method(options.method);
  return methods::configure(method, request).needs_gradients() || needs_synthesis(options, request);
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
    "  ounce quantize imdn.ounce --task super-resolution --data Set14/ --eval-data Set5/\n"
    "  ounce quantize model.onnx --data photos/ --set 'head.*:weights=float'\n"
    "  ounce quantize model.onnx --data photos/ --weights ternary --set 'blocks.0.*:weights=4'\n"
    "  ounce quantize vit.onnx --data photos/ --weights ternary --activations ternary\n"
    "  ounce quantize model.onnx --data none --weights 4 --activations f32\n"
    "  ounce quantize model.onnx --data none --weights 4 --activations 8 --dynamic token\n"
    "  ounce quantize vit.onnx --data none --weights 6 --activations 6\n"
    "  ounce quantize vit.onnx --data photos/ --weights 4 --activations 4 --preset good\n"
    "  ounce quantize model.onnx --dry-run\n";

}  // namespace

void add_quantize(CLI::App& app, Invocation& invocation) {
  add_command<QuantizeOptions>(app, invocation, "quantize",
                               "Make a model small and fast, and report what that cost", kExamples,
                               define_quantize, quantize_model);
}

}  // namespace ounce::cli
