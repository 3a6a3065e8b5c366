#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/common.h"
#include "report/report.h"

namespace ounce::cli {

/// "AMD EPYC 9R14, 2 processors, Linux 6.1.0 x86_64"
std::string machine_text();

/// "fnv1a64:..." of a file's bytes (and of the "<name>.data" beside it, if any).
std::string file_hash(const std::filesystem::path& path);
/// The same over several files in order.
std::string file_hash(const std::vector<std::filesystem::path>& paths);

/// Command, versions, model hash, machine, instruction set, threads, seed, time of day. What
/// belongs to the data stays empty.
report::Provenance make_provenance(const Invocation& invocation, const CommonOptions& options,
                                   const std::filesystem::path& model);

/// Adds the seconds since it was made, or since the last call, to a provenance, stage by stage.
class StageClock {
 public:
  void finish(report::Provenance& provenance, const std::string& stage);

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace ounce::cli
