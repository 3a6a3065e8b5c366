#include "cli/commands.h"

namespace ounce::cli {

void add_commands(CLI::App& app, Invocation& invocation) {
  add_inspect(app, invocation);
  add_run(app, invocation);
  add_eval(app, invocation);
  add_bench(app, invocation);
  add_quantize(app, invocation);
  add_search(app, invocation);
  add_train(app, invocation);
  add_compare(app, invocation);
  add_convert(app, invocation);
  add_methods(app, invocation);
}

}  // namespace ounce::cli
