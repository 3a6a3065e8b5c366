#include "cli/provenance.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <ctime>
#include <fstream>
#include <string_view>
#include <thread>
#include <vector>

#include "cli/version.h"
#include "engine/isa.h"
#include "graph/error.h"

namespace ounce::cli {
namespace {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

/// FNV-1a, 64 bits: tells accidental differences, not attacks.
void add_to_hash(uint64_t& hash, std::string_view bytes) {
  for (const char c : bytes) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
}

void add_file_to_hash(uint64_t& hash, const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error("cannot be read", path.string());
  std::vector<char> block(size_t{1} << 20);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0) {
    add_to_hash(hash, std::string_view(block.data(), static_cast<size_t>(file.gcount())));
  }
}

}  // namespace

std::string machine_text() {
  utsname system{};
  uname(&system);
  return fmt::format("{}, {} processors, {} {} {}", processor_name(),
                     std::thread::hardware_concurrency(), system.sysname, system.release,
                     system.machine);
}

std::string file_hash(const std::vector<std::filesystem::path>& paths) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::filesystem::path& path : paths) add_file_to_hash(hash, path);
  return fmt::format("fnv1a64:{:016x}", hash);
}

std::string file_hash(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> files{path};
  const std::filesystem::path data = path.string() + ".data";
  std::error_code ignored;
  if (std::filesystem::is_regular_file(data, ignored)) files.push_back(data);
  return file_hash(files);
}

report::Provenance make_provenance(const Invocation& invocation, const CommonOptions& options,
                                   const std::filesystem::path& model) {
  report::Provenance provenance;
  provenance.command = invocation.command;
  provenance.versions = library_versions();
  provenance.model_hash = file_hash(model);
  provenance.machine = machine_text();
  provenance.instruction_set = std::string(engine::isa_name(engine::current_isa()));
  provenance.threads = options.threads;
  provenance.seed = options.seed;
  provenance.started = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  return provenance;
}

void StageClock::finish(report::Provenance& provenance, const std::string& stage) {
  const auto now = std::chrono::steady_clock::now();
  provenance.seconds.emplace_back(stage, std::chrono::duration<double>(now - start_).count());
  start_ = now;
}

}  // namespace ounce::cli
