#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/task_options.h"
#include "methods/method.h"
#include "methods/picture_goals.h"

namespace ounce::cli {

/// The options of `ounce quantize`.
struct QuantizeOptions {
  CommonOptions common;
  std::string model;
  std::string output;
  DataOptions data;
  std::string eval_data;
  std::string eval_images;
  std::string eval_low_resolution;
  TaskArguments task;
  std::string method = "q-yolo";
  std::string weights = "8";      // bits, or "ternary"
  std::string activations = "8";  // bits, "ternary" or "f32"
  std::string dynamic = "off";    // "tensor" or "token": grids made while the model runs
  std::string softmax = "auto";   // name of quantize::SoftmaxCodes; auto: the preset's choice
  std::string preset;             // name of methods::Preset, or none
  int64_t calibration = 128;
  std::string synthesis = "auto";  // what pictures are made to be with --data none
  int64_t synthesis_steps = 300;
  int64_t synthetic_pictures = 32;
  int64_t compare = 16;
  int64_t sensitivity = 0;
  int runs = 30;
  std::vector<std::string> method_options;  // "name=value"
  std::vector<std::string> overrides;       // "pattern:key=value"
  bool dry_run = false;
  bool keep_slow = false;
};

void define_quantize(CLI::App& app, QuantizeOptions& options);

/// Adds what the preset chooses for this network and is not typed otherwise; returns it as flags,
/// "" without a preset.
std::string add_preset(methods::Request& request, const QuantizeOptions& options,
                       const Graph& graph);

/// Whether `--data none` is not enough as it is: pictures to calibrate on must be made.
/// The method is asked as `request` has it, a preset's options included.
bool needs_synthesis(const QuantizeOptions& options, const methods::Request& request);
/// How they are made, but for colours.
methods::SynthesisOptions synthesis_options(const QuantizeOptions& options);

/// The method's request as typed. Throws `UsageError` for an unknown method, option or override.
methods::Request make_request(const QuantizeOptions& options);

/// -o, or the model's name with the bits, beside nothing: "vit-w8a8".
std::filesystem::path output_folder(const QuantizeOptions& options,
                                    const methods::Request& request);

/// "weights 8 bit, activations 8 bit"
std::string settings_text(const methods::Request& request);
/// "W8A8", "W4A32", "WTA1" for ternary weights, "WTAT" for ternary activations, too.
std::string bits_label(const methods::Request& request);

}  // namespace ounce::cli
