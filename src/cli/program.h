#pragma once

#include "cli/commands.h"

namespace ounce::cli {

/// The whole program: parses the command line, runs one subcommand, prints its result on stdout and
/// errors as one line "ounce: ..." on stderr. Returns the exit code: 0 success, 2 usage error, 130
/// interrupted, 1 anything else. `add` adds the subcommands.
int run_program(int argc, const char* const* argv,
                void (*add)(CLI::App& app, Invocation& invocation) = add_commands);

}  // namespace ounce::cli
