#include "tasks/read_file.h"

#include <unistd.h>

#include <fstream>
#include <limits>

#include "graph/error.h"

namespace ounce::tasks {

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  std::error_code failed;
  if (std::filesystem::is_directory(path, failed))
    throw Error("is a folder", path.string(), "a file");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw Error("cannot open the file", path.string(), "checking the name and its rights");
  const std::streamoff size = file.tellg();
  if (size < 0 || size > std::numeric_limits<int32_t>::max()) {
    throw Error("cannot read the file: its size is not supported", path.string());
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), size);
  if (!file) throw Error("reading stopped before the end of the file", path.string());
  return bytes;
}

std::string read_text_file(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = read_file(path);
  return {bytes.begin(), bytes.end()};
}

void write_file_atomically(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  std::filesystem::path beside = path;
  beside += ".partial-" + std::to_string(getpid());
  std::ofstream file(beside, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  file.close();
  std::error_code failed;
  if (file) std::filesystem::rename(beside, path, failed);
  if (!file || failed) {
    std::error_code ignored;
    std::filesystem::remove(beside, ignored);
    throw Error("cannot write the file", path.string(), "a folder that exists and is writable");
  }
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  size_t begin = text.starts_with("\xef\xbb\xbf") ? 3 : 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    const size_t first = line.find_first_not_of(" \t\r");
    const size_t last = line.find_last_not_of(" \t\r");
    lines.push_back(first == std::string::npos ? "" : line.substr(first, last - first + 1));
    begin = end + 1;
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

}  // namespace ounce::tasks
