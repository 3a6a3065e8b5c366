#pragma once

#include <CLI/CLI.hpp>

#include "cli/common.h"

namespace ounce::cli {

/// What the program ounce-train has: `ounce train`, and `ounce quantize` with rounding that is
/// learned.
void add_training(CLI::App& app, Invocation& invocation);

}  // namespace ounce::cli
