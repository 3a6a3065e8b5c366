#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/common.h"
#include "graph/error.h"
#include "methods/method.h"
#include "quantize/options.h"

namespace ounce::cli {

/// Adds --method --softmax --set --option to a command whose options have `method`, `softmax`,
/// `overrides` and `method_options`.
template <class Options>
void add_method_options(CLI::App& app, Options& options) {
  app.add_option("--method", options.method, "Method, one of those that `ounce methods` lists")
      ->capture_default_str();
  app.add_option("--softmax", options.softmax,
                 "Codes of the softmax maps of attention: uniform, log2 or log-sqrt2 (the "
                 "activations' bits, at most 4); auto: uniform unless a preset knows better")
      ->check(CLI::IsMember({"auto", "uniform", "log2", "log-sqrt2"}))
      ->capture_default_str();
  app.add_option("--set", options.overrides,
                 "PATTERN:KEY=VALUE, settings of the layers that the pattern names");
  app.add_option("--option", options.method_options, "NAME=VALUE, an option of the method");
}

/// Adds to `request` what --option and --set say. Throws `Error` for what is no option or override.
void add_typed(methods::Request& request, const std::string& method,
               const std::vector<std::string>& method_options,
               const std::vector<std::string>& overrides);

}  // namespace ounce::cli
