#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/trainer.h"
#include "graph/error.h"

namespace ounce::cli {

int run_trainer(const std::vector<std::string>& command) {
  std::error_code failed;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", failed);
  const std::filesystem::path program = self.parent_path() / "ounce-train";
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execv(program.c_str(), arguments.data());
  throw Error("cannot be started", program.string(), "installing ounce with its trainer");
}

void add_train(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("train", "Train a network by a recipe");
  command->prefix_command();
  command->set_help_flag();
  command->callback([&invocation] {
    invocation.action = [&invocation] { return run_trainer(invocation.command); };
  });
}

}  // namespace ounce::cli
