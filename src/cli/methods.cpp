#include "cli/commands.h"

namespace ounce::cli {
void add_methods(CLI::App&, Invocation&) {}
}  // namespace ounce::cli
