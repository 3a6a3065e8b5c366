#include "report/measurement.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "graph/error.h"
#include "report/format.h"
#include "report/table.h"

namespace ounce::report {
namespace {

using Clock = std::chrono::steady_clock;
using Align = Table::Align;
constexpr size_t kNameWidth = 44;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

const NamedShape* shape_for(const std::string& input, std::span<const NamedShape> given,
                            bool only_input) {
  for (const NamedShape& one : given) {
    if (one.input == input || (one.input.empty() && only_input)) return &one;
  }
  return nullptr;
}

void check_names(const Graph& graph, std::span<const NamedShape> given) {
  for (const NamedShape& one : given) {
    if (one.input.empty() && graph.inputs.size() == 1) continue;
    const bool found = std::any_of(graph.inputs.begin(), graph.inputs.end(),
                                   [&](ValueId id) { return graph.value(id).name == one.input; });
    if (found) continue;
    throw Error("no input is named \"" + one.input + "\"", "--shape",
                "--shape " + graph.value(graph.inputs.at(0)).name + "=1x3x224x224");
  }
}

/// Known shape of one input, or nullopt; an unknown first dimension counts as a batch of one.
std::optional<Shape> resolved(const Value& value) {
  if (!value.shape) return std::nullopt;
  Shape shape;
  for (size_t i = 0; i < value.shape->size(); ++i) {
    const Dim& dim = (*value.shape)[i];
    if (!dim.known() && i > 0) return std::nullopt;
    shape.push_back(dim.known() ? dim.value : 1);
  }
  return shape;
}

template <class T, class Draw>
void fill(Tensor& tensor, Draw draw) {
  for (T& element : tensor.mutable_data<T>()) element = static_cast<T>(draw());
}

void fill_random(Tensor& tensor, std::mt19937_64& random) {
  const auto bit = [&] { return static_cast<int>(random() & 1); };
  switch (tensor.dtype()) {
    case DType::f32: {
      std::normal_distribution<float> normal;
      return fill<float>(tensor, [&] { return normal(random); });
    }
    case DType::f64: {
      std::normal_distribution<double> normal;
      return fill<double>(tensor, [&] { return normal(random); });
    }
    case DType::i64:
      return fill<int64_t>(tensor, bit);
    case DType::i32:
      return fill<int32_t>(tensor, bit);
    case DType::u8:
      return fill<uint8_t>(tensor, [&] { return random() & 0xff; });
    case DType::i8:
      return fill<int8_t>(tensor, [&] { return random() & 0x7f; });
    case DType::boolean:
      return fill<bool>(tensor, bit);
    default:
      return;  // zeros: valid for every other type
  }
}

std::vector<engine::StepProfile> profile_steps(const Graph& graph, std::span<const Tensor> inputs,
                                               const MeasureOptions& options,
                                               const std::function<void()>& after_run) {
  engine::SessionOptions session_options;
  session_options.threads = options.threads;
  session_options.profile = true;
  session_options.winograd = options.winograd;
  engine::Session session(graph, session_options);
  std::vector<Tensor> outputs = session.run(inputs);
  for (int i = 0; i < options.warmup; ++i) session.run_into(inputs, outputs);
  session.reset_profile();
  for (int i = 0; i < options.runs; ++i) {
    session.run_into(inputs, outputs);
    after_run();
  }
  return session.profile();
}

/// A step against the machine. A step whose data come from the cache may pass the memory limit.
struct Rates {
  bool timed = false;
  bool multiplies = false;
  double gops = 0;
  double limit_gops = 0;
  double limit_share = 0;
  double gbs = 0;
  double memory_share = 0;
};

Rates rates_of(const engine::StepProfile& step, const engine::MachineLimits& limits) {
  Rates rates;
  rates.timed = step.median_ms > 0 && limits.read_gbs > 0;
  rates.limit_gops = limits.gops(step.multiplication);
  rates.multiplies = rates.timed && step.macs > 0 && rates.limit_gops > 0;
  if (!rates.timed) return rates;
  const double seconds = step.median_ms / 1000;
  rates.gbs = 1e-9 * static_cast<double>(step.bytes) / seconds;
  rates.memory_share = rates.gbs / limits.read_gbs;
  if (!rates.multiplies) return rates;
  rates.gops = 2e-9 * static_cast<double>(step.macs) / seconds;
  rates.limit_share = rates.gops / rates.limit_gops;
  return rates;
}

/// "8x8", "32x32": bits of weights and activations; "TxT": both are ternary.
std::string bits_text(const engine::Multiplication& multiplication) {
  if (multiplication.ternary) return "TxT";
  return fmt::format("{}x{}", multiplication.weight_bits, multiplication.activation_bits);
}

Json step_json(const engine::StepProfile& step, const engine::MachineLimits& limits) {
  Json json{{"name", step.name},          {"op", step.op},     {"kernel", step.kernel},
            {"nodes", step.nodes},        {"macs", step.macs}, {"bytes", step.bytes},
            {"median_ms", step.median_ms}};
  const Rates rates = rates_of(step, limits);
  if (rates.timed) {
    json["gbs"] = rates.gbs;
    json["memory_share"] = rates.memory_share;
  }
  if (!rates.multiplies) return json;
  json["weight_bits"] = step.multiplication.weight_bits;
  json["activation_bits"] = step.multiplication.activation_bits;
  json["bits"] = bits_text(step.multiplication);
  json["gops"] = rates.gops;
  json["limit_gops"] = rates.limit_gops;
  json["limit_share"] = rates.limit_share;
  return json;
}

std::string percent(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

}  // namespace

std::optional<std::vector<Shape>> input_shapes_if_known(const Graph& graph,
                                                        std::span<const NamedShape> given) {
  check_names(graph, given);
  std::vector<Shape> shapes;
  for (ValueId id : graph.inputs) {
    const Value& value = graph.value(id);
    if (const NamedShape* named = shape_for(value.name, given, graph.inputs.size() == 1)) {
      shapes.push_back(named->shape);
    } else if (std::optional<Shape> shape = resolved(value)) {
      shapes.push_back(std::move(*shape));
    } else {
      return std::nullopt;
    }
  }
  return shapes;
}

std::vector<Shape> input_shapes(const Graph& graph, std::span<const NamedShape> given) {
  if (auto shapes = input_shapes_if_known(graph, given)) return std::move(*shapes);
  for (ValueId id : graph.inputs) {
    const Value& value = graph.value(id);
    if (shape_for(value.name, given, graph.inputs.size() == 1) || resolved(value)) continue;
    throw Error("the shape " + (value.shape ? to_string(*value.shape) : std::string("?")) +
                    " is not fully known",
                "input \"" + value.name + "\"", "--shape " + value.name + "=1x3x224x224");
  }
  return {};
}

std::vector<Tensor> random_inputs(const Graph& graph, std::span<const Shape> shapes,
                                  uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    tensors.emplace_back(graph.value(graph.inputs[i]).dtype, shapes[i]);
    fill_random(tensors.back(), random);
  }
  return tensors;
}

double Measurement::quantile_ms(double q) const {
  if (run_ms.empty()) return 0;
  std::vector<double> sorted = run_ms;
  std::sort(sorted.begin(), sorted.end());
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

Latency Measurement::latency() const {
  return {quantile_ms(0.5), quantile_ms(0.95), static_cast<int>(run_ms.size())};
}

std::vector<Measurement> measure_interleaved(std::span<const Graph* const> graphs,
                                             std::span<const Tensor> inputs,
                                             const MeasureOptions& options,
                                             const MeasureProgress& progress) {
  const int64_t passes = options.profile ? 2 : 1;
  const int64_t total = passes * options.runs * static_cast<int64_t>(graphs.size());
  int64_t done = 0;
  const auto after_run = [&] {
    if (progress) progress(++done, total);
  };
  std::vector<Measurement> results(graphs.size());
  std::vector<engine::Session> sessions;
  std::vector<std::vector<Tensor>> outputs;
  engine::SessionOptions session_options;
  session_options.threads = options.threads;
  session_options.winograd = options.winograd;
  for (size_t i = 0; i < graphs.size(); ++i) {
    auto start = Clock::now();
    sessions.emplace_back(*graphs[i], session_options);
    results[i].load_ms = milliseconds_since(start);
    start = Clock::now();
    outputs.push_back(sessions[i].run(inputs));
    results[i].first_run_ms = milliseconds_since(start);
    results[i].arena_bytes = sessions[i].arena_bytes();
    results[i].weight_bytes = sessions[i].weight_bytes();
    results[i].kernel_hints = sessions[i].kernel_hints();
    for (int run = 0; run < options.warmup; ++run) sessions[i].run_into(inputs, outputs[i]);
  }
  for (int run = 0; run < options.runs; ++run) {
    for (size_t i = 0; i < graphs.size(); ++i) {
      const auto start = Clock::now();
      sessions[i].run_into(inputs, outputs[i]);
      results[i].run_ms.push_back(milliseconds_since(start));
      after_run();
    }
  }
  for (size_t i = 0; options.profile && i < graphs.size(); ++i) {
    results[i].steps = profile_steps(*graphs[i], inputs, options, after_run);
    results[i].limits = engine::machine_limits(options.threads);
  }
  return results;
}

int64_t peak_resident_bytes() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;  // Linux counts in kB
}

Json to_json(const Measurement& measurement, int threads) {
  Json json{{"label", measurement.label},
            {"median_ms", measurement.quantile_ms(0.5)},
            {"p95_ms", measurement.quantile_ms(0.95)},
            {"min_ms", measurement.quantile_ms(0)},
            {"per_second", 1000 / measurement.quantile_ms(0.5)},
            {"read_ms", measurement.read_ms},
            {"load_ms", measurement.load_ms},
            {"first_run_ms", measurement.first_run_ms},
            {"runs", measurement.run_ms.size()},
            {"threads", threads},
            {"peak_bytes", measurement.arena_bytes + measurement.weight_bytes},
            {"arena_bytes", measurement.arena_bytes},
            {"weight_bytes", measurement.weight_bytes},
            {"layers", Json::array()}};
  for (const engine::StepProfile& step : measurement.steps) {
    json["layers"].push_back(step_json(step, measurement.limits));
  }
  if (!measurement.steps.empty()) {
    json["limits"] = {{"f32_gops", measurement.limits.f32_gops},
                      {"int8_gops", measurement.limits.int8_gops},
                      {"bit_gops", measurement.limits.bit_gops},
                      {"read_gbs", measurement.limits.read_gbs}};
  }
  return json;
}

std::string text(std::span<const Measurement> measurements) {
  Table table({{"model", Align::left, kNameWidth},
               {"median", Align::right},
               {"p95", Align::right},
               {"per second", Align::right},
               {"load", Align::right},
               {"first run", Align::right},
               {"weights", Align::right},
               {"arena", Align::right},
               {"speed", Align::right}});
  for (const Measurement& one : measurements) {
    const double median = one.quantile_ms(0.5);
    table.add_row({one.label, milliseconds_text(median), milliseconds_text(one.quantile_ms(0.95)),
                   median > 0 ? fmt::format("{:.1f}", 1000 / median) : "-",
                   milliseconds_text(one.read_ms + one.load_ms),
                   milliseconds_text(one.first_run_ms), bytes_text(one.weight_bytes),
                   bytes_text(one.arena_bytes),
                   ratio_text(measurements[0].quantile_ms(0.5), median)});
  }
  return table.text();
}

std::string profile_text(const Measurement& measurement) {
  double total = 0;
  for (const engine::StepProfile& step : measurement.steps) total += step.median_ms;
  Table table({{"step", Align::left, kNameWidth},
               {"op", Align::left},
               {"kernel", Align::left},
               {"ms", Align::right},
               {"share", Align::right},
               {"bits", Align::right},
               {"GOP/s", Align::right},
               {"of limit", Align::right},
               {"GB/s", Align::right},
               {"of memory", Align::right}});
  for (const engine::StepProfile& step : measurement.steps) {
    const Rates rates = rates_of(step, measurement.limits);
    table.add_row({step.name, step.op, step.kernel, fmt::format("{:.4f}", step.median_ms),
                   total > 0 ? percent(step.median_ms / total) : "-",
                   rates.multiplies ? bits_text(step.multiplication) : "",
                   rates.multiplies ? fmt::format("{:.1f}", rates.gops) : "",
                   rates.multiplies ? percent(rates.limit_share) : "",
                   rates.timed ? fmt::format("{:.1f}", rates.gbs) : "",
                   rates.timed ? percent(rates.memory_share) : ""});
  }
  const engine::MachineLimits& limits = measurement.limits;
  return table.text() +
         fmt::format(
             "limits measured: f32 {:.0f} GOP/s, int8 {:.0f} GOP/s, bits {:.0f} GOP/s, "
             "memory {:.1f} GB/s\n",
             limits.f32_gops, limits.int8_gops, limits.bit_gops, limits.read_gbs);
}

}  // namespace ounce::report
