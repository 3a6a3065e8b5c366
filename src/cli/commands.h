#pragma once

#include <CLI/CLI.hpp>

#include "cli/common.h"

namespace ounce::cli {

// One file a subcommand. Each adds its options to `app` and, when chosen, sets `invocation.action`.
void add_inspect(CLI::App& app, Invocation& invocation);
void add_run(CLI::App& app, Invocation& invocation);
void add_eval(CLI::App& app, Invocation& invocation);
void add_bench(CLI::App& app, Invocation& invocation);
void add_quantize(CLI::App& app, Invocation& invocation);
void add_search(CLI::App& app, Invocation& invocation);
void add_train(CLI::App& app, Invocation& invocation);
void add_compare(CLI::App& app, Invocation& invocation);
void add_convert(CLI::App& app, Invocation& invocation);
void add_methods(CLI::App& app, Invocation& invocation);

/// All of the above, in the order of the help page.
void add_commands(CLI::App& app, Invocation& invocation);

}  // namespace ounce::cli
