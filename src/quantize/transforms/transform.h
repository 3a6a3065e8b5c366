#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/options.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// One transform of a graph that changes nothing in exact arithmetic, and what it was worth.
struct TransformRecord {
  std::string node;  // the normalization, or the first of the layers
  std::string kind;  // "repq", "smooth", "rotation", "head rotation", "equalization"
  bool kept = false;
  /// Signal over noise of what the layers behind it make of quantized operands, on some rows of
  /// the calibration data, without and with it, dB.
  double before_db = 0.0;
  double after_db = 0.0;
  std::string obstacle;  // why it could not be tried; empty: it was
};

/// Rows of calibration data that a transform is judged on.
inline constexpr int64_t kJudgedRows = 128;

/// Fills in what the trial said, keeps what pays, and tells of it.
void judge(double before_db, double after_db, const Progress& progress, TransformRecord& record);

/// Applies what `options.transforms` asks for to a prepared graph, each where it pays: where the
/// layers behind it come closer to their float results. Reads the data twice (more for large
/// models). Values that hold other numbers than before get other names, the others keep theirs. The
/// graph computes what it did but for rounding. Equalization comes first, then rotations, then what
/// normalizations share out anew.
std::vector<TransformRecord> transform(Graph& prepared, const Options& options, InputSource& source,
                                       const Progress& progress = {});

/// Where what `options.transforms` asks for can be tried, one line a transform, without looking at
/// data: how many places there are, and what is in the way of streams that cannot be rotated.
std::vector<std::string> transform_places(const Graph& prepared, const Options& options);

}  // namespace ounce::quantize
