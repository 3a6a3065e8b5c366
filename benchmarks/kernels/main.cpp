#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/kernels/kernel_case.h"
#include "engine/isa.h"
#include "graph/error.h"

// The roofline table: what every kernel reaches on every instruction set, over what the machine
// could do. One thread.
namespace ounce::engine {
namespace {

struct Options {
  bool json = false;
  bool all = false;
  std::string filter;
  std::vector<std::string> isas;
  double milliseconds = 60;
};

// CPU time of this thread, so that other work on the machine does not count.
double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Median time of a call. A sample is as many calls as take 50 us, far above what the clock costs.
double median_seconds(const std::function<void()>& call, double budget) {
  constexpr double kSample = 50e-6;
  constexpr size_t kFewest = 3;
  call();
  const double start = seconds();
  call();
  const double once = std::max(seconds() - start, 1e-9);
  const int calls = static_cast<int>(std::max(1.0, kSample / once));
  std::vector<double> samples;
  for (double spent = 0; spent < budget || samples.size() < kFewest; spent += samples.back()) {
    const double begin = seconds();
    for (int i = 0; i < calls; ++i) call();
    samples.push_back(seconds() - begin);
  }
  std::nth_element(samples.begin(), samples.begin() + static_cast<long>(samples.size() / 2),
                   samples.end());
  return samples[samples.size() / 2] / calls;
}

struct Row {
  const KernelCase* of = nullptr;
  std::string isa;
  double gops = 0;
  /// The lower of what the instructions and what the memory allows; none between products.
  std::optional<double> limit_gops;
  bool memory_bound = false;
};

Row measure(const KernelCase& one, const Options& options) {
  Row row;
  row.of = &one;
  row.isa = isa_name(current_isa());
  row.gops = 1e-9 * one.operations / median_seconds(one.prepare(), options.milliseconds * 1e-3);
  if (one.weights == "-") return row;
  row.limit_gops = machine_limits().gops(one.multiplication);
  if (one.streamed_bytes > 0) {
    const double fed = one.operations / one.streamed_bytes * measure_read_gbs();
    row.memory_bound = fed < *row.limit_gops;
    row.limit_gops = std::min(fed, *row.limit_gops);
  }
  return row;
}

nlohmann::json to_json(const Row& row) {
  nlohmann::json json{
      {"op", row.of->op},     {"weights", row.of->weights}, {"activations", row.of->activations},
      {"isa", row.isa},       {"shape", row.of->shape},     {"gops", row.gops},
      {"limit_gops", nullptr}};
  if (!row.limit_gops) return json;
  json["limit_gops"] = *row.limit_gops;
  json["limit"] = row.memory_bound ? "memory" : "instructions";
  return json;
}

std::string to_line(const Row& row) {
  return fmt::format(
      "{:<18}{:>9}{:>9}  {:<12}{:<20}{:>10.1f}{:>10}{:>9}  {}\n", row.of->op, row.of->weights,
      row.of->activations, row.isa, row.of->shape, row.gops,
      row.limit_gops ? fmt::format("{:.1f}", *row.limit_gops) : "",
      row.limit_gops ? fmt::format("{:.0f} %", 100 * row.gops / *row.limit_gops) : "",
      row.memory_bound ? "memory" : "");
}

KernelCases chosen_cases(const Options& options) {
  KernelCases chosen;
  const auto add = [&](KernelCases cases) {
    for (KernelCase& one : cases) {
      const std::string name = one.op + " " + one.weights + "x" + one.activations + " " + one.shape;
      if (name.find(options.filter) != std::string::npos) chosen.push_back(std::move(one));
    }
  };
  add(f32_cases());
  add(int8_cases());
  add(bits_cases());
  add(codes_cases());
  if (options.all) {
    add(network_cases());
    add(attention_cases());
    add(elementwise_cases());
  }
  return chosen;
}

std::vector<Isa> chosen_isas(const Options& options) {
  std::vector<Isa> chosen;
  for (const Isa isa : available_isas()) {
    const std::string name(isa_name(isa));
    const bool named =
        std::find(options.isas.begin(), options.isas.end(), name) != options.isas.end();
    if (options.isas.empty() || named) chosen.push_back(isa);
  }
  if (chosen.empty()) throw Error("no such instruction set here", "--isa", "avx2");
  return chosen;
}

void run(const Options& options) {
  const KernelCases cases = chosen_cases(options);
  nlohmann::json rows = nlohmann::json::array();
  if (!options.json) {
    fmt::print("{:<18}{:>9}{:>9}  {:<12}{:<20}{:>10}{:>10}{:>9}\n", "op", "weights", "acts", "isa",
               "shape", "GOP/s", "limit", "share");
  }
  for (const Isa isa : chosen_isas(options)) {
    select_isa(isa);
    for (const KernelCase& one : cases) {
      const Row row = measure(one, options);
      if (options.json) {
        rows.push_back(to_json(row));
      } else {
        fmt::print("{}", to_line(row));
        std::fflush(stdout);
      }
    }
  }
  if (options.json) fmt::print("{}\n", rows.dump(1));
}

}  // namespace
}  // namespace ounce::engine

int main(int argc, char** argv) {
  ounce::engine::Options options;
  CLI::App app("Kernels over what the machine could do, for every instruction set; one thread");
  app.add_flag("--json", options.json, "Rows as JSON");
  app.add_flag("--all", options.all, "More shapes, and the kernels between products");
  app.add_option("--filter", options.filter, "Only cases whose 'op WxA shape' contains this");
  app.add_option("--isa", options.isas, "Only these instruction sets");
  app.add_option("--milliseconds", options.milliseconds, "Time for a case")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    ounce::engine::run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "kernels: {}\n", error.what());
    return 1;
  }
  return 0;
}
