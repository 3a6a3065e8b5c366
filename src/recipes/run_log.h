#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "recipes/event_file.h"

namespace ounce::recipes {

/// What is known at the end of an epoch.
struct EpochRecord {
  std::string stage;
  int64_t epoch = 0;  // of the stage, from 1
  int64_t step = 0;   // of the stage
  double loss = 0;
  std::optional<double> test_accuracy = {};  // where the epoch ended with a look at the test set
  double learning_rate = 0;
  std::map<std::string, double> measures = {};  // the method's
};

/// `log.jsonl`, a line an epoch, and the same numbers for TensorBoard.
///
/// The file of lines is whole at any time, and has each epoch once: where a run goes on from a
/// checkpoint, lines behind it are dropped.
class RunLog {
 public:
  explicit RunLog(const std::filesystem::path& folder);

  /// `steps_before`: steps of the stages before, which TensorBoard's step counts too. Throws
  /// `Error` when a file cannot be written.
  void add(const EpochRecord& record, int64_t steps_before);

 private:
  /// The lines of an earlier process that come before this record.
  static std::string lines_before(const std::filesystem::path& path, const EpochRecord& record);

  std::filesystem::path path_;
  std::string lines_;
  bool is_read_ = false;
  EventFile events_;
};

}  // namespace ounce::recipes
