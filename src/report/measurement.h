#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/limits.h"
#include "engine/session.h"
#include "graph/graph.h"
#include "report/json.h"
#include "report/report.h"

namespace ounce::report {

/// Input shapes for timing: known dimensions as they are, an unknown leading (batch) dimension 1.
/// `given` overrides by input name. Throws `Error` naming an input whose other dimensions are
/// unknown, or a name that is no input.
struct NamedShape {
  std::string input;  // "" for the only input
  Shape shape;
};
std::vector<Shape> input_shapes(const Graph& graph, std::span<const NamedShape> given);

/// The same with unknown dimensions left open: what `inspect` can say without running anything.
/// Returns nullopt when some dimension stays unknown.
std::optional<std::vector<Shape>> input_shapes_if_known(const Graph& graph,
                                                        std::span<const NamedShape> given);

/// Random inputs: standard normal floats, integers and booleans 0 or 1. The same for the same seed.
std::vector<Tensor> random_inputs(const Graph& graph, std::span<const Shape> shapes, uint64_t seed);

/// Latency of one model.
struct Measurement {
  std::string label;
  std::vector<double> run_ms;  // one entry a timed run, in order
  double read_ms = 0;          // reading the file, filled in by the caller
  double load_ms = 0;          // making the session
  double first_run_ms = 0;     // planning and packing included
  int64_t arena_bytes = 0;
  int64_t weight_bytes = 0;
  engine::KernelHints kernel_hints;
  std::vector<engine::StepProfile> steps;  // empty unless profiled
  engine::MachineLimits limits;            // of its threads, if profiled

  double quantile_ms(double q) const;
  Latency latency() const;
};

struct MeasureOptions {
  int threads = 1;
  int runs = 50;
  int warmup = 3;
  bool profile = false;
  bool winograd = true;  // see engine::SessionOptions
};

/// Called between runs with (done, total); may throw to stop.
using MeasureProgress = std::function<void(int64_t done, int64_t total)>;

/// Times the graphs with the same inputs, one run of each in turn, so that a drift of the machine
/// hits all alike. Profiles, if asked for, come from separate runs that are not timed.
std::vector<Measurement> measure_interleaved(std::span<const Graph* const> graphs,
                                             std::span<const Tensor> inputs,
                                             const MeasureOptions& options,
                                             const MeasureProgress& progress = nullptr);

/// Highest resident set of this process so far, in bytes; 0 where the system does not tell.
int64_t peak_resident_bytes();

/// `median_ms`, `p95_ms`, `threads`, `peak_bytes`, `layers`, ...
Json to_json(const Measurement& measurement, int threads);
std::string text(std::span<const Measurement> measurements);
/// Time by step, in order: share, GOP/s (two operations a multiply-accumulate), and how much of the
/// machine's limits for its arithmetic and for reading memory that is.
std::string profile_text(const Measurement& measurement);

}  // namespace ounce::report
