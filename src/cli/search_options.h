#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/search_data.h"
#include "cli/task_options.h"
#include "methods/method.h"
#include "quantize/search/search.h"

namespace ounce::cli {

/// The options of `ounce search`.
struct SearchArguments {
  CommonOptions common;
  std::string model;
  std::string output;
  SearchDataOptions data;
  TaskArguments task;
  std::optional<double> max_drop;
  std::string cost;  // "latency" or "size", of --max-drop
  std::optional<uint64_t> max_bytes;
  std::optional<double> max_ms;
  std::vector<std::string> bits = {"8", "6", "4", "3", "2", "float"};
  std::string method = "q-yolo";
  std::string softmax = "uniform";
  std::vector<std::string> method_options;  // "name=value"
  std::vector<std::string> overrides;       // "pattern:key=value"
  double minutes = 10.0;
  int64_t sensitivity = 32;
  int64_t compare = 16;
  int runs = 10;
  bool restart = false;
  bool dry_run = false;
};

void define_search(CLI::App& app, SearchArguments& options);

/// What --max-drop, --for, --max-bytes and --max-ms ask for together. Throws `UsageError` where
/// they contradict each other.
quantize::search::Goal goal_of(const SearchArguments& options);
/// "a drop of at most 1 point of top1 at least latency"
std::string goal_text(const quantize::search::Goal& goal, const std::string& metric);

/// What --bits names, float among it or not.
struct Candidates {
  std::vector<quantize::search::Setting> settings;  // dearest first, float left out
  bool allow_float = false;
};
/// Throws `UsageError` for bits that no kernel runs.
Candidates candidates_of(const SearchArguments& options);

/// The method's request, with all layers at 8 bits. Throws `UsageError`.
methods::Request make_request(const SearchArguments& options);

/// -o, or the model's name with "-search".
std::filesystem::path output_folder(const SearchArguments& options);

}  // namespace ounce::cli
