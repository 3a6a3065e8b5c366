#include "cli/commands.h"

namespace ounce::cli {

void add_commands(CLI::App& app, Invocation& invocation) {
  add_methods(app, invocation);
}

}  // namespace ounce::cli
