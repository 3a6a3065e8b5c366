#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace ounce::tasks {

/// The bytes of a file; throws `Error` naming it when it cannot be read or is larger than 2 GB.
std::vector<uint8_t> read_file(const std::filesystem::path& path);

/// As `read_file`, as text.
std::string read_text_file(const std::filesystem::path& path);

/// Writes beside `path` and renames, so that a broken write leaves no half file. Throws `Error`.
void write_file_atomically(const std::filesystem::path& path, std::span<const uint8_t> bytes);

/// The lines of a text: without line ends, surrounding blanks, a byte-order mark, or trailing empty
/// lines.
std::vector<std::string> split_lines(const std::string& text);

}  // namespace ounce::tasks
