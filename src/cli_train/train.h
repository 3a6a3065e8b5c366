#pragma once

#include <CLI/CLI.hpp>

#include "cli/common.h"

namespace ounce::cli {

/// `ounce train`: what the program ounce-train has.
void add_training(CLI::App& app, Invocation& invocation);

}  // namespace ounce::cli
