#include "cli/commands.h"
#include "cli/search_options.h"
#include "cli/search_run.h"

namespace ounce::cli {
namespace {

int search(const SearchArguments& options, const Invocation& invocation) {
  SearchRun run(options, invocation);
  return options.dry_run ? run.plan_only() : run.carry_out();
}

constexpr const char* kExamples =
    "  ounce search vit.onnx -o out/ --data photos.txt --resize 248 --crop 224 --mean 0.5 --std "
    "0.5 "
    "--max-drop 1\n"
    "  ounce search detector.onnx --data train.json --eval-data val.json --max-drop 0.5 --for "
    "size\n"
    "  ounce search model.onnx --data photos/ --max-bytes 3MB --minutes 30\n"
    "  ounce search model.onnx --data photos/ --max-ms 5 --bits 8,4,float\n"
    "  ounce search model.onnx --data photos/ --set 'head.*:weights=8' --dry-run\n";

}  // namespace

void add_search(CLI::App& app, Invocation& invocation) {
  add_command<SearchArguments>(app, invocation, "search",
                               "Find bits for each layer that keep the accuracy at least cost",
                               kExamples, define_search, search);
}

}  // namespace ounce::cli
