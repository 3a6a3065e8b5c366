#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/task_options.h"
#include "methods/method.h"

namespace ounce::cli {

/// The options of `ounce quantize`.
struct QuantizeOptions {
  CommonOptions common;
  std::string model;
  std::string output;
  DataOptions data;
  std::string eval_data;
  std::string eval_images;
  TaskArguments task;
  std::string method = "q-yolo";
  std::string weights = "8";        // bits, or "ternary"
  std::string activations = "8";    // bits, or "f32"
  std::string dynamic = "off";      // "tensor" or "token": grids made while the model runs
  std::string softmax = "uniform";  // name of quantize::SoftmaxCodes
  int64_t calibration = 128;
  int64_t compare = 16;
  int64_t sensitivity = 0;
  int runs = 30;
  std::vector<std::string> method_options;  // "name=value"
  std::vector<std::string> overrides;       // "pattern:key=value"
  bool dry_run = false;
  bool keep_slow = false;
};

void define_quantize(CLI::App& app, QuantizeOptions& options);

/// The method's request as typed. Throws `UsageError` for an unknown method, option or override.
methods::Request make_request(const QuantizeOptions& options);

/// -o, or the model's name with the bits, beside nothing: "vit-w8a8".
std::filesystem::path output_folder(const QuantizeOptions& options,
                                    const methods::Request& request);

/// "weights 8 bit, activations 8 bit"
std::string settings_text(const methods::Request& request);
/// "W8A8", "W4A32", "WTA1" for ternary weights.
std::string bits_label(const methods::Request& request);

}  // namespace ounce::cli
