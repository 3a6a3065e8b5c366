#include "cli/program.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>
#include <string>

#include "cli/common.h"
#include "cli/interrupt.h"
#include "cli/version.h"
#include "graph/error.h"
#include "quantize/source.h"
#include "report/format.h"

namespace ounce::cli {
namespace {

constexpr int kFailure = 1;
constexpr int kUsageError = 2;
constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells report it
constexpr const char* kInterruptedLine = "interrupted, nothing was written";

/// Names in a file can be megabytes long; a line of that length tells nothing.
constexpr size_t kLongestMessage = 2000;

int fail(std::string message, int code) {
  if (message.size() > kLongestMessage) message.replace(kLongestMessage, std::string::npos, "...");
  std::fprintf(stderr, "ounce: %s\n", report::printable(message).c_str());
  return code;
}

/// CLI11 tells help and version requests apart from mistakes by their exit code.
int usage_exit(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
    return app.exit(error);  // prints the help or the version
  }
  return fail(std::string(error.what()) + " (try: ounce --help)", kUsageError);
}

}  // namespace

int run_program(int argc, const char* const* argv,
                void (*add)(CLI::App& app, Invocation& invocation)) {
  CLI::App app("Make neural networks small and run them at the speed their bits promise.", "ounce");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  app.fallthrough(false);
  app.footer("Each subcommand explains itself: ounce quantize --help");
  Invocation invocation;
  invocation.command.assign(argv, argv + argc);
  add(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return usage_exit(app, error);
  }
  try {
    const InterruptGuard guard;
    return invocation.action ? invocation.action() : kUsageError;
  } catch (const UsageError& error) {
    return fail(error.what(), kUsageError);
  } catch (const Interrupted&) {
    return fail(kInterruptedLine, kInterrupted);
  } catch (const quantize::Interrupted&) {
    return fail(kInterruptedLine, kInterrupted);
  } catch (const std::bad_alloc&) {
    return fail("out of memory (try: a smaller model or batch)", kFailure);
  } catch (const std::exception& error) {
    return fail(error.what(), kFailure);
  }
}

}  // namespace ounce::cli
