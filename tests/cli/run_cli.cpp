#include "tests/cli/run_cli.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/test_data.h"

namespace ounce::cli {
namespace {

std::string contents(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// Tests lie in a folder beside the program.
std::filesystem::path program_path(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / name;
}

[[noreturn]] void be_the_program(const std::filesystem::path& program,
                                 const std::vector<std::string>& arguments,
                                 const std::filesystem::path& out,
                                 const std::filesystem::path& err) {
  const auto redirect = [](const std::filesystem::path& path, int descriptor) {
    const int file = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    dup2(file, descriptor);
    close(file);
  };
  redirect(out, STDOUT_FILENO);
  redirect(err, STDERR_FILENO);
  std::vector<const char*> argv{program.c_str()};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  argv.push_back(nullptr);
  execv(program.c_str(), const_cast<char* const*>(argv.data()));
  constexpr int kCannotStart = 127;  // as shells say it
  _exit(kCannotStart);
}

}  // namespace

CliResult run_cli(const std::vector<std::string>& arguments,
                  const std::function<void(int pid)>& while_running) {
  return run_program("ounce", arguments, while_running);
}

CliResult run_program(const std::string& name, const std::vector<std::string>& arguments,
                      const std::function<void(int pid)>& while_running,
                      const std::function<void()>& prepare) {
  const testing::TemporaryFolder folder;
  const auto out = folder.path() / "out";
  const auto err = folder.path() / "err";
  const std::filesystem::path program = program_path(name);
  const pid_t child = fork();
  if (child == 0) {
    if (prepare) prepare();
    be_the_program(program, arguments, out, err);
  }
  if (while_running) while_running(child);
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(out), contents(err)};
}

}  // namespace ounce::cli
