#pragma once

#include <filesystem>
#include <string>

#include "cli/common.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/provenance.h"
#include "engine/session.h"
#include "quantize/quantizer.h"
#include "report/json.h"
#include "report/report.h"
#include "tasks/task.h"

namespace ounce::cli {

/// What is known of a compression before it is done.
struct CompressionSubject {
  const Graph& graph;  // must outlive the record
  std::string model;   // its file
  std::string method;
  std::string settings;  // one line: "weights 8 bit, activations 8 bit"
  std::string label;     // "W8A8"
  /// What asked for the result, for the model's metadata and the manifest: bits, options. No times,
  /// so that equal settings and data give equal bytes.
  report::Json request;
};

/// What a compression leaves behind: the models, their figures, the manifest and the report.
/// Whatever compresses hands its result here.
class CompressionRecord {
 public:
  CompressionRecord(CompressionSubject subject, const Invocation& invocation,
                    const CommonOptions& common);

  /// To be added to by the caller: data, metrics, notes.
  report::Compression& report() { return report_; }
  /// Ends a stage of work, for the times in the manifest.
  void finish(const std::string& stage) { clock_.finish(report_.provenance, stage); }
  /// Names what was asked for anew, where it is known only later.
  void set_request(std::string settings, std::string label, report::Json request);

  /// What the result comes from: version, method, request, seed, hashes of model and data.
  report::Json origin() const;

  /// Times both models in turns, `runs` times each, and their pieces of work, on the first run of
  /// `source`. `options` made the result.
  void measure(const quantize::QuantizeResult& result, const quantize::Options& options,
               quantize::InputSource& source, int runs, Progress& progress);

  /// Writes model.onnx and model.ounce, with the origin of the result and what `task` (or nullptr)
  /// stores in their metadata.
  void write_models(quantize::QuantizeResult& result, const tasks::Task* task,
                    const StagedOutput& output);

  /// Compares all tensors over `source`, and the sensitivity of every layer over the first
  /// `sensitivity` inputs of it.
  void compare_tensors(const quantize::QuantizeResult& result, quantize::InputSource& source,
                       int64_t sensitivity, Progress& progress);

  /// Fills the report from the result; the files will lie in `folder`.
  void describe(const quantize::QuantizeResult& result, const std::filesystem::path& folder);

  /// Writes manifest.json and report.html; the models lie in `models`, written now or before.
  void write_reports(const StagedOutput& output, const std::filesystem::path& models);

  /// Which kernels were fastest, for `write_models`; `measure` finds out by itself.
  void set_kernel_hints(engine::KernelHints hints) { kernel_hints_ = std::move(hints); }

 private:
  void note_layers(const quantize::QuantizeResult& result);
  void note_transforms(const quantize::QuantizeResult& result);
  void note_slowness();
  report::Json manifest(const std::filesystem::path& models) const;

  CompressionSubject subject_;
  CommonOptions common_;
  StageClock clock_;
  report::Compression report_;
  std::optional<quantize::LatencyComparison> latency_;
  engine::KernelHints kernel_hints_;
};

}  // namespace ounce::cli
