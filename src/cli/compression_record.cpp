#include "cli/compression_record.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "cli/calibration_inputs.h"
#include "cli/examine.h"
#include "cli/model_input.h"
#include "formats/formats.h"
#include "quantize/analysis/compare.h"
#include "report/html.h"
#include "report/measurement.h"
#include "report/quantization.h"

namespace ounce::cli {
namespace {

constexpr int kWorstTensors = 6;  // histograms on the page

}  // namespace

CompressionRecord::CompressionRecord(CompressionSubject subject, const Invocation& invocation,
                                     const CommonOptions& common)
    : subject_(std::move(subject)), common_(common) {
  report_.provenance = make_provenance(invocation, common, subject_.model);
}

void CompressionRecord::set_request(std::string settings, std::string label, report::Json request) {
  subject_.settings = std::move(settings);
  subject_.label = std::move(label);
  subject_.request = std::move(request);
}

void CompressionRecord::measure(const quantize::QuantizeResult& result,
                                const quantize::Options& options, quantize::InputSource& source,
                                int runs, Progress& progress) {
  source.restart();
  const std::optional<std::vector<Tensor>> inputs = source.next();
  const std::vector<const Graph*> graphs{&subject_.graph, &result.graph};
  report::MeasureOptions timing;
  timing.threads = common_.threads;
  timing.runs = runs;
  const auto measured = report::measure_interleaved(
      graphs, inputs.value(), timing,
      [&](int64_t done, int64_t total) { progress.step("timing", done, total); });
  progress.clear();
  report::ModelSide* sides[] = {&report_.before, &report_.after};
  for (size_t i = 0; i < measured.size(); ++i) {
    sides[i]->latency = measured[i].latency();
    sides[i]->weight_bytes = measured[i].weight_bytes;
    sides[i]->arena_bytes = measured[i].arena_bytes;
  }
  kernel_hints_ = measured.back().kernel_hints;
  latency_ = result.latency;
  if (!latency_) {
    const quantize::DryRun dry = quantize::dry_run(subject_.graph, options);
    latency_ = quantize::compare_latency(result.prepared, result.graph, dry.plan, *inputs,
                                         common_.threads);
  }
}

report::Json CompressionRecord::origin() const {
  report::Json origin{{"ounce", report_.provenance.versions[0].second},
                      {"method", subject_.method}};
  origin.update(subject_.request);
  origin["seed"] = common_.seed;
  origin["model_hash"] = report_.provenance.model_hash;
  origin["data_hash"] = report_.provenance.data_hash;
  return origin;
}

void CompressionRecord::write_models(quantize::QuantizeResult& result, const tasks::Task* task,
                                     const StagedOutput& output) {
  if (task != nullptr) task->store(result.graph);
  result.graph.metadata["ounce.origin"] = report::json_text(origin(), -1);
  formats::write_model(result.graph, output.path("model.onnx"));
  // Only here does time come in: which kernel was fastest for a layer of few bits.
  engine::store_kernel_hints(result.graph, kernel_hints_);
  formats::write_model(result.graph, output.path("model.ounce"));
}

void CompressionRecord::compare_tensors(const quantize::QuantizeResult& result,
                                        quantize::InputSource& source, int64_t sensitivity,
                                        Progress& progress) {
  quantize::CompareOptions settings;
  settings.threads = common_.threads;
  settings.histograms = kWorstTensors;
  const quantize::Comparison comparison =
      quantize::compare(result.prepared, result.graph, source, settings, quantize_hooks(progress));
  report_.examination = examine(comparison, result.prepared, result.graph, source, sensitivity,
                                common_.threads, progress);
  progress.clear();
  report_.errors = report::errors_of(comparison);
  report_.histograms = report::histograms_of(comparison, result);
}

void CompressionRecord::describe(const quantize::QuantizeResult& result,
                                 const std::filesystem::path& folder) {
  report_.model = std::filesystem::path(subject_.model).filename().string();
  report_.method = subject_.method;
  report_.settings = subject_.settings;
  report_.before.label = "float";
  report_.after.label = subject_.label;
  report::add_quantization(report_, result);
  if (latency_) report::add_latency(report_, *latency_, result.prepared);
  if (!report_.provenance.skipped.empty()) {
    report_.notes.push_back(fmt::format("{} of {} calibration pictures could not be read",
                                        report_.provenance.skipped.size(),
                                        report_.provenance.data_items));
  }
  note_layers(result);
  note_transforms(result);
  note_slowness();
  for (const char* name : {"model.ounce", "model.onnx", "manifest.json", "report.html"}) {
    report_.files.push_back((folder / name).string());
  }
}

void CompressionRecord::note_layers(const quantize::QuantizeResult& result) {
  std::vector<std::string> ends;
  std::vector<std::string> widened;
  for (const quantize::LayerRecord& layer : result.layers) {
    if (layer.is_end) ends.push_back(layer.node);
    if (layer.is_widened) widened.push_back(layer.node);
  }
  const auto note = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty())
      report_.notes.push_back(fmt::format("{}: {}", what, fmt::join(names, ", ")));
  };
  note("first and last layers keep 8 bits (--option keep-ends8=off: no)", ends);
  note(
      "with fewer bits too noisy, these have 8 for activations, or weights, too (--option "
      "guard=off: no)",
      widened);
  note("embeddings are stored with 8 bits (--option embeddings8=off: no)", result.embeddings);
  if (!latency_) return;
  note("few bits are no faster than 8 here, the weights are unpacked when the model is loaded",
       latency_->unpacked_layers);
}

void CompressionRecord::note_transforms(const quantize::QuantizeResult& result) {
  std::map<std::string, std::pair<int64_t, int64_t>> kinds;  // tried, kept
  for (const quantize::TransformRecord& one : result.transforms) {
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

void CompressionRecord::note_slowness() {
  if (!report_.before.latency || !report_.after.latency) return;
  const double before = report_.before.latency->median_ms;
  const double after = report_.after.latency->median_ms;
  if (after <= before) return;
  report_.notes.push_back(
      fmt::format("the quantized model is slower than the float model on this machine: {:.3f} ms "
                  "against {:.3f}",
                  after, before));
}

report::Json CompressionRecord::manifest(const std::filesystem::path& models) const {
  report::Json json = report::to_json(report_.provenance);
  json["method"] = subject_.method;
  json.update(subject_.request);
  json["float_bytes"] = report_.before.file_bytes;
  json["files"] = report::Json::array();
  for (const char* name : {"model.ounce", "model.onnx"}) {
    const std::filesystem::path path = models / name;
    json["files"].push_back(
        {{"name", name}, {"bytes", file_bytes(path)}, {"hash", file_hash(path)}});
  }
  return json;
}

void CompressionRecord::write_reports(const StagedOutput& output,
                                      const std::filesystem::path& models) {
  report_.before.file_bytes = file_bytes(subject_.model);
  report_.after.file_bytes = file_bytes(models / "model.ounce");
  output.write_text("manifest.json", report::json_text(manifest(models)) + '\n');
  output.write_text("report.html", report::html_page(report_));
}

}  // namespace ounce::cli
