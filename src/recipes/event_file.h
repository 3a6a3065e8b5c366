#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>

namespace ounce::recipes {

// A file of events is a row of records, all numbers little-endian:
//
//   8 bytes   N, length of the message
//   4 bytes   masked CRC-32C of these 8
//   N bytes   a message `Event` (event.proto)
//   4 bytes   masked CRC-32C of the message
//
// Masked: rotated right by 15 bits, plus 0xa282ead8, so that sums over data that holds sums stay
// good.

/// CRC-32C (Castagnoli, reflected, polynomial 0x1edc6f41).
uint32_t crc32c(std::string_view bytes);
uint32_t masked_crc32c(std::string_view bytes);

/// Scalars for TensorBoard: a file `events.out.tfevents.<time>.<machine>.<process>.<number>`. A run
/// that goes on makes another file in the same folder, whose first event tells TensorBoard to
/// forget what earlier files hold from that step on.
class EventFile {
 public:
  explicit EventFile(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// Appends the numbers of a step, counted over the whole run, and flushes them; the first call
  /// makes the file. Throws `Error` naming the file when it cannot be written.
  void add(int64_t step, const std::map<std::string, double>& scalars);

 private:
  void begin(int64_t step);
  void append(const std::string& message) const;

  std::filesystem::path folder_;
  std::filesystem::path path_;  // empty before the first call
};

}  // namespace ounce::recipes
