#include "methods/method.h"

#include <fmt/format.h>

#include <string>

#include "cli/commands.h"
#include "report/table.h"

namespace ounce::cli {
namespace {

struct MethodsOptions {
  CommonOptions common;
  std::string name;
};

void define(CLI::App& app, MethodsOptions& options) {
  app.add_option("name", options.name, "Only this method, with its options");
}

report::Json method_json(const methods::Method& method) {
  report::Json json{{"name", method.name},
                    {"summary", method.summary},
                    {"needs", method.needs},
                    {"paper", method.paper},
                    {"options", report::Json::array()}};
  for (const methods::MethodOption& option : method.options) {
    json["options"].push_back(
        {{"name", option.name}, {"default", option.fallback}, {"meaning", option.meaning}});
  }
  return json;
}

std::string method_text(const methods::Method& method) {
  std::string text =
      fmt::format("{}\n  {}\n  needs: {}\n", method.name, method.summary, method.needs);
  if (!method.paper.empty()) text += fmt::format("  paper: {}\n", method.paper);
  if (method.options.empty()) return text;
  report::Table table({{"  option"}, {"default"}, {"meaning"}});
  for (const methods::MethodOption& option : method.options) {
    table.add_row({fmt::format("  {}", option.name), std::string(option.fallback),
                   std::string(option.meaning)});
  }
  return text + '\n' + table.text();
}

int show_methods(const MethodsOptions& options, const Invocation&) {
  if (!options.name.empty()) {
    const methods::Method& method = methods::find_method(options.name);
    print_result(options.common, method_json(method), method_text(method));
    return 0;
  }
  report::Json json = report::Json::array();
  report::Table table({{"method"}, {"what it does"}, {"needs"}, {"paper"}});
  for (const methods::Method& method : methods::all_methods()) {
    json.push_back(method_json(method));
    table.add_row({std::string(method.name), std::string(method.summary), std::string(method.needs),
                   std::string(method.paper)});
  }
  print_result(options.common, {{"methods", std::move(json)}}, table.text());
  return 0;
}

constexpr const char* kExamples =
    "  ounce methods\n"
    "  ounce methods q-yolo\n"
    "  ounce methods --json\n";

}  // namespace

void add_methods(CLI::App& app, Invocation& invocation) {
  add_command<MethodsOptions>(app, invocation, "methods",
                              "List the compression methods and what each needs", kExamples, define,
                              show_methods);
}

}  // namespace ounce::cli
