#include "cli/quantize_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/method_request.h"
#include "graph/error.h"
#include "methods/preset.h"
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
        quantize::LayerSettings scratch;
        const bool known =
            quantize::set_activation_bits(scratch, text) || is_float_activation(text);
        return known ? "" : "1 to 8 bits, ternary or f32";
      },
      "BITS");
}

CLI::Validator picture_goals() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        const bool known = text == "auto" || methods::picture_goals_from_name(text);
        return known ? "" : "auto, " + std::string(methods::kPictureGoals);
      },
      "GOALS");
}

void set_bits(methods::Request& request, const QuantizeOptions& options) {
  quantize::WeightOptions weights;
  quantize::set_weight_bits(weights, options.weights);
  request.weight_bits = weights.bits;
  request.ternary = weights.ternary;
  quantize::LayerSettings layer;
  const bool on_codes = quantize::set_activation_bits(layer, options.activations);
  request.activation_bits = on_codes ? layer.activation_bits : 0;
  request.ternary_activations = layer.ternary_activations;
  request.activation_grid = *quantize::activation_grid_from_name(options.dynamic);
}

methods::Request request_from(const QuantizeOptions& options) {
  if (options.data.data.empty() && !options.dry_run) {
    throw Error("is required", "--data", "a folder of pictures");
  }
  methods::Request request;
  set_bits(request, options);
  request.softmax =
      quantize::softmax_codes_from_name(options.softmax).value_or(quantize::SoftmaxCodes::kUniform);
  request.threads = options.common.threads;
  add_typed(request, options.method, options.method_options, options.overrides);
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
      "calibrate on (and to judge on, where labelled); or a folder of .npy arrays; none: pictures "
      "are made from the network where it takes any",
      false);
  add_method_options(app, options);
  app.add_option(
         "--preset", options.preset,
         "fast, good or best: options that suit the network and the bits, for about 1, 5 or "
         "30 minutes; what it chose is told, and what is typed wins")
      ->check(CLI::IsMember({"fast", "good", "best"}));
  app.add_option("--weights", options.weights, "Bits of weights, or ternary (-1, 0, 1)")
      ->check(weight_bits())
      ->capture_default_str();
  app.add_option("--activations", options.activations,
                 "Bits of activations, ternary (-1, 0, 1), or f32 for none")
      ->check(activation_bits())
      ->capture_default_str();
  app.add_option("--dynamic", options.dynamic,
                 "Activations of linear layers on grids made while the model runs, one a tensor or "
                 "one a token, instead of calibrated ones; everything else stays float")
      ->check(CLI::IsMember({"off", "tensor", "token"}))
      ->capture_default_str();
  app.add_option("--calibration", options.calibration, "Pictures to calibrate on, spread evenly")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--synthesis", options.synthesis,
                 fmt::format("What pictures are made to be with --data none: {}; auto: what suits "
                             "the network",
                             methods::kPictureGoals))
      ->check(picture_goals())
      ->capture_default_str();
  app.add_option("--synthesis-steps", options.synthesis_steps, "Steps in which they are made")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--synthetic", options.synthetic_pictures, "How many are made")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--eval-data", options.eval_data,
                 "Labelled pictures to judge on before and after");
  app.add_option("--eval-images", options.eval_images, "Folder of the pictures of --eval-data");
  app.add_option("--eval-low-resolution", options.eval_low_resolution,
                 "Folder of the pictures of --eval-data made small");
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

std::string add_preset(methods::Request& request, const QuantizeOptions& options,
                       const Graph& graph) {
  const auto preset = methods::preset_from_name(options.preset);
  if (!preset) return {};
  const int64_t pictures =
      options.data.data == "none" ? options.synthetic_pictures : options.calibration;
  methods::PresetChoice choice =
      methods::preset_choice(*preset, graph, request, methods::macs_of_run(graph), pictures);
  // What is typed wins, and is not told as chosen.
  std::erase_if(choice.options,
                [&](const auto& one) { return request.options.contains(one.first); });
  if (options.softmax != "auto") choice.softmax = quantize::SoftmaxCodes::kUniform;
  request.options.insert(choice.options.begin(), choice.options.end());
  if (options.softmax == "auto") request.softmax = choice.softmax;
  return methods::flags_text(choice);
}

bool needs_synthesis(const QuantizeOptions& options, const methods::Request& request) {
  if (options.data.data != "none") return false;
  const auto& method = methods::find_method(options.method);
  return request.needs_ranges() || methods::configure(method, request).looks_at_data();
}

methods::SynthesisOptions synthesis_options(const QuantizeOptions& options) {
  methods::SynthesisOptions synthesis;
  synthesis.goals = methods::picture_goals_from_name(options.synthesis);
  synthesis.pictures = options.synthetic_pictures;
  synthesis.steps = options.synthesis_steps;
  synthesis.seed = options.common.seed;
  synthesis.threads = options.common.threads;
  return synthesis;
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
  if (request.softmax != quantize::SoftmaxCodes::kUniform)
    bits += "-" + std::string(quantize::name_of(request.softmax));
  return std::filesystem::path(options.model).stem().string() + "-" + bits;
}

std::string settings_text(const methods::Request& request) {
  std::string activations =
      request.activation_bits == 0
          ? "float"
          : quantize::bits_phrase(request.activation_bits, request.ternary_activations);
  if (is_dynamic(request)) {
    activations += fmt::format(" dynamic per {}", quantize::name_of(request.activation_grid));
  }
  if (request.softmax != quantize::SoftmaxCodes::kUniform) {
    activations += fmt::format(", softmax maps {}", quantize::name_of(request.softmax));
  }
  return fmt::format("weights {}, activations {}",
                     quantize::bits_phrase(request.weight_bits, request.ternary), activations);
}

std::string bits_label(const methods::Request& request) {
  const auto letter_or_bits = [](int bits, bool ternary) {
    return ternary ? "T" : std::to_string(bits);
  };
  return fmt::format(
      "W{}A{}", letter_or_bits(request.weight_bits, request.ternary),
      letter_or_bits(request.activation_bits == 0 ? kFloatBits : request.activation_bits,
                     request.ternary_activations));
}

}  // namespace ounce::cli
