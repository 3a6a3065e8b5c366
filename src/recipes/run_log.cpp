#include "recipes/run_log.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "formats/ounce_file/atomic_file.h"

namespace ounce::recipes {

using Json = nlohmann::ordered_json;

RunLog::RunLog(const std::filesystem::path& folder)
    : path_(folder / "log.jsonl"), events_(folder) {}

std::string RunLog::lines_before(const std::filesystem::path& path, const EpochRecord& record) {
  std::string lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line); lines += line + '\n') {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) break;
    if (json.value("stage", Json()) == record.stage && json.value("step", Json(0)) >= record.step) {
      break;
    }
  }
  return lines;
}

void RunLog::add(const EpochRecord& record, int64_t steps_before) {
  if (!is_read_) lines_ = lines_before(path_, record);
  is_read_ = true;
  Json line = {{"stage", record.stage},
               {"epoch", record.epoch},
               {"step", record.step},
               {"loss", record.loss},
               {"learning_rate", record.learning_rate}};
  if (record.test_accuracy) line["test_accuracy"] = *record.test_accuracy;
  if (!record.measures.empty()) line["measures"] = record.measures;
  lines_ += line.dump() + '\n';
  formats::AtomicFile file(path_);
  file.write(lines_);
  file.commit();
  std::map<std::string, double> scalars = record.measures;
  scalars["loss"] = record.loss;
  if (record.test_accuracy) scalars["test_accuracy"] = *record.test_accuracy;
  scalars["learning_rate"] = record.learning_rate;
  events_.add(steps_before + record.step, scalars);
}

}  // namespace ounce::recipes
