#pragma once

#include <functional>
#include <string>
#include <vector>

namespace ounce::cli {

/// What a program left behind.
struct CliResult {
  int code = -1;  // -1: ended by a signal
  std::string out;
  std::string err;
};

/// Runs the built program with these arguments (without its own name) in a child process.
/// `while_running` gets the child's process id.
CliResult run_cli(const std::vector<std::string>& arguments,
                  const std::function<void(int pid)>& while_running = nullptr);

/// The same for another program of the build; `prepare` runs in the child before it becomes it.
CliResult run_program(const std::string& name, const std::vector<std::string>& arguments,
                      const std::function<void(int pid)>& while_running = nullptr,
                      const std::function<void()>& prepare = nullptr);

}  // namespace ounce::cli
