#include "cli/quantize_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "graph/error.h"
#include "quantize/affine.h"

namespace ounce::cli {
namespace {

constexpr int kFloatBits = 32;

bool is_float_activation(const std::string& text) {
  return quantize::is_float_word(text) || text == "0";
}

CLI::Validator weight_bits() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        quantize::WeightOptions scratch;
        return quantize::set_weight_bits(scratch, text) ? "" : "1 to 8 bits, or ternary";
      },
      "BITS");
}

CLI::Validator activation_bits() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        const bool known = quantize::bits_from_text(text) || is_float_activation(text);
        return known ? "" : "1 to 8 bits, or f32";
      },
      "BITS");
}

void set_bits(methods::Request& request, const QuantizeOptions& options) {
  quantize::WeightOptions weights;
  quantize::set_weight_bits(weights, options.weights);
  request.weight_bits = weights.bits;
  request.ternary = weights.ternary;
  request.activation_bits = quantize::bits_from_text(options.activations).value_or(0);
  request.activation_grid = *quantize::activation_grid_from_name(options.dynamic);
}

methods::Request request_from(const QuantizeOptions& options) {
  if (options.data.data.empty() && !options.dry_run) {
    throw Error("is required", "--data", "a folder of pictures");
  }
  methods::Request request;
  set_bits(request, options);
  request.softmax = quantize::softmax_codes_from_name(options.softmax).value();
  if (options.data.data == "none" && request.needs_ranges()) {
    throw Error("the ranges of activations need data", "--data none",
                "--activations f32, or --dynamic token");
  }
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
  const quantize::Options settings =
      methods::configure(methods::find_method(options.method), request);
  if (options.data.data == "none" && settings.looks_at_data()) {
    throw Error("transforms, rounding and bias correction go by data", "--data none",
                "norms=none, rounding=nearest, bias-correction=off");
  }
  return request;
}

}  // namespace

void define_quantize(CLI::App& app, QuantizeOptions& options) {
  add_model_argument(app, options.model);
  app.add_option("-o,--output", options.output,
                 "Folder to fill (default: the model's name and the bits)");
  add_data_options(
      app, options.data,
      "calibrate on (and to judge on, where labelled); or a folder of .npy arrays; none where "
      "activations stay float or are dynamic",
      false);
  app.add_option("--method", options.method, "Method, one of those that `ounce methods` lists")
      ->capture_default_str();
  app.add_option("--weights", options.weights, "Bits of weights, or ternary (-1, 0, 1)")
      ->check(weight_bits())
      ->capture_default_str();
  app.add_option("--activations", options.activations, "Bits of activations, or f32 for none")
      ->check(activation_bits())
      ->capture_default_str();
  app.add_option("--dynamic", options.dynamic,
                 "Activations of linear layers on grids made while the model runs, one a tensor or "
                 "one a token, instead of calibrated ones; everything else stays float")
      ->check(CLI::IsMember({"off", "tensor", "token"}))
      ->capture_default_str();
  app.add_option("--softmax", options.softmax,
                 "Codes of the softmax maps of attention: uniform, log2 or log-sqrt2 (the "
                 "activations' bits, at most 4)")
      ->check(CLI::IsMember({"uniform", "log2", "log-sqrt2"}))
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
  app.add_option("--sensitivity", options.sensitivity,
                 "Pictures on which one layer at a time is quantized, and restored (0: not); of "
                 "those of --compare")
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

namespace {

bool is_dynamic(const methods::Request& request) {
  return request.activation_bits != 0 &&
         request.activation_grid != quantize::ActivationGrid::kCalibrated;
}

}  // namespace

std::filesystem::path output_folder(const QuantizeOptions& options,
                                    const methods::Request& request) {
  if (!options.output.empty()) return options.output;
  std::string bits = bits_label(request);
  std::transform(bits.begin(), bits.end(), bits.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (is_dynamic(request)) bits += "-dynamic";
  if (request.softmax != quantize::SoftmaxCodes::kUniform) bits += "-" + options.softmax;
  return std::filesystem::path(options.model).stem().string() + "-" + bits;
}

std::string settings_text(const methods::Request& request) {
  std::string activations =
      request.activation_bits == 0 ? "float" : fmt::format("{} bit", request.activation_bits);
  if (is_dynamic(request)) {
    activations += fmt::format(" dynamic per {}", quantize::name_of(request.activation_grid));
  }
  if (request.softmax != quantize::SoftmaxCodes::kUniform) {
    activations += fmt::format(", softmax maps {}", quantize::name_of(request.softmax));
  }
  return fmt::format("weights {}, activations {}",
                     request.ternary ? "ternary" : fmt::format("{} bit", request.weight_bits),
                     activations);
}

std::string bits_label(const methods::Request& request) {
  return fmt::format("W{}A{}", request.ternary ? "T" : std::to_string(request.weight_bits),
                     request.activation_bits == 0 ? kFloatBits : request.activation_bits);
}

}  // namespace ounce::cli
