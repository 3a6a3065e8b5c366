#include "quantize/transforms/transform.h"

#include <algorithm>
#include <cstdio>

#include "quantize/decibels.h"
#include "quantize/transforms/channel_observer.h"
#include "quantize/transforms/equalization.h"
#include "quantize/transforms/head_rotation.h"
#include "quantize/transforms/norm_fold.h"
#include "quantize/transforms/norm_trial.h"
#include "quantize/transforms/stream_rotation.h"

namespace ounce::quantize {
namespace {

void transform_norms(Graph& graph, const Options& options, InputSource& source,
                     const Progress& progress, std::vector<TransformRecord>& records) {
  const std::vector<NormFold> folds = norm_folds(graph);
  if (folds.empty()) return;
  std::vector<std::string> values;
  for (const NormFold& fold : folds) {
    values.push_back(graph.value(graph.nodes[static_cast<size_t>(fold.norm)].output(0)).name);
  }
  const std::vector<ObservedChannels> seen =
      observe_channels(graph, values, source, kJudgedRows, options.threads, progress);
  const auto first = static_cast<std::ptrdiff_t>(records.size());
  // From the last: folding may insert nodes behind.
  for (size_t i = folds.size(); i-- > 0;) {
    const NormTrial trial(graph, options, folds[i], seen[i]);
    if (!trial.matters()) continue;
    TransformRecord& record = records.emplace_back();
    record.node = graph.nodes[static_cast<size_t>(folds[i].norm)].name;
    record.kind = name_of(options.transforms.norms);
    const NormScaling scaling = trial.scaling(options.transforms);
    // What shifts take off the results is a constant that biases hold: the signal is that of
    // before.
    const Strength before = trial.strength();
    judge(decibels(before.signal, before.noise),
          decibels(before.signal, trial.strength(scaling).noise), progress, record);
    if (record.kept) fold_into_norm(graph, folds[i], scaling.scales, scaling.shifts);
  }
  std::reverse(records.begin() + first, records.end());
}

}  // namespace

void judge(double before_db, double after_db, const Progress& progress, TransformRecord& record) {
  record.before_db = before_db;
  record.after_db = after_db;
  record.kept = after_db > before_db;
  char text[96];
  std::snprintf(text, sizeof text, ": %s %.1f dB to %.1f dB%s", record.kind.c_str(), before_db,
                after_db, record.kept ? "" : ", left alone");
  progress.tell(record.node + text);
}

std::vector<std::string> transform_places(const Graph& prepared, const Options& options) {
  std::vector<std::string> lines;
  const TransformOptions& asked = options.transforms;
  if (asked.equalize) {
    lines.push_back("equalization between " + std::to_string(equalized_pairs(prepared).size()) +
                    " pairs of layers");
  }
  if (asked.rotation == Rotation::kHadamard) {
    for (const ResidualStream& stream : residual_streams(prepared)) {
      lines.push_back("rotation of a stream of " + std::to_string(stream.width) +
                      " channels before " + std::to_string(stream.norms.size()) +
                      " normalizations");
      if (!stream.obstacle.empty()) {
        lines.back() = "no rotation of a stream of " + std::to_string(stream.width) +
                       " channels: " + stream.obstacle;
      }
    }
    lines.push_back("rotation of the heads of " + std::to_string(value_heads(prepared).size()) +
                    " attentions");
  }
  if (asked.norms != NormTransform::kNone) {
    lines.push_back(std::string(name_of(asked.norms)) + " behind " +
                    std::to_string(norm_folds(prepared).size()) + " normalizations");
  }
  return lines;
}

std::vector<TransformRecord> transform(Graph& prepared, const Options& options, InputSource& source,
                                       const Progress& progress) {
  std::vector<TransformRecord> records;
  if (options.transforms.equalize) equalize(prepared, options, source, progress, records);
  if (options.transforms.rotation == Rotation::kHadamard) {
    rotate_streams(prepared, options, source, progress, records);
    rotate_heads(prepared, options, source, progress, records);
  }
  if (options.transforms.norms != NormTransform::kNone) {
    transform_norms(prepared, options, source, progress, records);
  }
  return records;
}

}  // namespace ounce::quantize
