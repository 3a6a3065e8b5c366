#include "cli/quantize_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "graph/error.h"

namespace ounce::cli {
namespace {

constexpr int kFloatBits = 32;

/// 2 to 8 bits; 0 where activations stay in float.
CLI::Validator bits(bool or_float) {
  return CLI::Validator(
      [or_float](const std::string& text) -> std::string {
        const bool one_digit = text.size() == 1;
        const bool fits = one_digit && text[0] >= '2' && text[0] <= '8';
        if (fits || (or_float && text == "0")) return {};
        return or_float ? "2 to 8 bits, or 0 for float" : "2 to 8 bits";
      },
      "BITS");
}

methods::Request request_from(const QuantizeOptions& options) {
  if (options.data.data.empty() && !options.dry_run) {
    throw Error("is required", "--data", "a folder of pictures");
  }
  if (options.data.data == "none" && options.activations != 0) {
    throw Error("the ranges of activations need data", "--data none", "--activations 0");
  }
  methods::Request request;
  request.weight_bits = options.weights;
  request.activation_bits = options.activations;
  request.threads = options.common.threads;
  for (const std::string& text : options.method_options) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) {
      throw Error("not NAME=VALUE", "--option " + text, "ounce methods " + options.method);
    }
    request.options[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const std::string& text : options.overrides) {
    request.overrides.push_back(quantize::parse_override(text));
  }
  // A layer that loses stays in float, unless the user says otherwise.
  request.options.emplace("drop-slow-layers", options.keep_slow ? "off" : "on");
  methods::configure(methods::find_method(options.method), request);
  return request;
}

}  // namespace

void define_quantize(CLI::App& app, QuantizeOptions& options) {
  add_model_argument(app, options.model);
  app.add_option("-o,--output", options.output,
                 "Folder to fill (default: the model's name and the bits)");
  add_data_options(
      app, options.data,
      "calibrate on (and to judge on, where labelled); or a folder of .npy arrays; none for "
      "weight-only",
      false);
  app.add_option("--method", options.method, "Method, one of those that `ounce methods` lists")
      ->capture_default_str();
  app.add_option("--weights", options.weights, "Bits of weights")
      ->check(bits(false))
      ->capture_default_str();
  app.add_option("--activations", options.activations, "Bits of activations, 0 for float")
      ->check(bits(true))
      ->capture_default_str();
  app.add_option("--set", options.overrides,
                 "PATTERN:KEY=VALUE, settings of the layers that the pattern names");
  app.add_option("--option", options.method_options, "NAME=VALUE, an option of the method");
  app.add_option("--calibration", options.calibration, "Pictures to calibrate on, spread evenly")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--eval-data", options.eval_data,
                 "Labelled pictures to judge on before and after");
  app.add_option("--eval-images", options.eval_images, "Folder of the pictures of --eval-data");
  app.add_option("--compare", options.compare,
                 "Pictures to compare tensors on, layer by layer (0: not)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_runs_option(app, options.runs);
  app.add_flag("--dry-run", options.dry_run, "Print the plan and stop before calibration");
  app.add_flag("--keep-slow", options.keep_slow,
               "Keep layers on integers that are slower there on this machine");
  add_task_options(app, options.task);
}

methods::Request make_request(const QuantizeOptions& options) {
  try {
    return request_from(options);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

std::filesystem::path output_folder(const QuantizeOptions& options) {
  if (!options.output.empty()) return options.output;
  std::string bits = bits_label(options);
  std::transform(bits.begin(), bits.end(), bits.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::filesystem::path(options.model).stem().string() + "-" + bits;
}

std::string settings_text(const QuantizeOptions& options) {
  return fmt::format(
      "weights {} bit, activations {}", options.weights,
      options.activations == 0 ? std::string("float") : fmt::format("{} bit", options.activations));
}

std::string bits_label(const QuantizeOptions& options) {
  return fmt::format("W{}A{}", options.weights,
                     options.activations == 0 ? kFloatBits : options.activations);
}

}  // namespace ounce::cli
