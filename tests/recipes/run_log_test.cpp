#include "recipes/run_log.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "graph/error.h"
#include "recipes/event.pb.h"
#include "recipes/event_file.h"
#include "tests/support/test_data.h"

namespace ounce::recipes {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

template <class Number>
Number little_endian(std::string_view bytes) {
  Number number = 0;
  for (size_t i = 0; i < sizeof number; ++i) {
    number |= static_cast<Number>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  }
  return number;
}

/// Reads a file as its format says; checks every sum.
std::vector<events::Event> events_of(const fs::path& path) {
  const std::string bytes = bytes_of(path);
  std::string_view rest = bytes;
  std::vector<events::Event> result;
  while (!rest.empty()) {
    const std::string_view length_bytes = rest.substr(0, 8);
    const auto length = little_endian<uint64_t>(length_bytes);
    EXPECT_EQ(little_endian<uint32_t>(rest.substr(8, 4)), masked_crc32c(length_bytes));
    const std::string_view message = rest.substr(12, length);
    EXPECT_EQ(little_endian<uint32_t>(rest.substr(12 + length, 4)), masked_crc32c(message));
    EXPECT_TRUE(result.emplace_back().ParseFromArray(message.data(), static_cast<int>(length)));
    rest.remove_prefix(16 + length);
  }
  return result;
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::map<std::string, float> scalars_of(const events::Event& event) {
  std::map<std::string, float> scalars;
  for (const auto& value : event.summary().value()) scalars[value.tag()] = value.simple_value();
  return scalars;
}

std::vector<nlohmann::json> lines_of(const fs::path& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

TEST(Crc32c, IsThatOfTheStandardsExamples) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
}

TEST(RunLog, WritesTheSameNumbersAsLinesAndForTensorBoard) {
  const ounce::testing::TemporaryFolder folder;
  RunLog log(folder.path());
  log.add({"float", 1, 10, 2.5, {}, 0.1, {}}, 0);
  log.add({"low", 1, 10, 1.5, 0.5, 0.05, {{"flip_rate/conv", 0.125}}}, 20);
  const auto lines = lines_of(folder.path() / "log.jsonl");
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["stage"], "float");
  EXPECT_FALSE(lines[0].contains("measures"));
  EXPECT_FALSE(lines[0].contains("test_accuracy"));
  EXPECT_EQ(lines[1]["test_accuracy"], 0.5);
  EXPECT_EQ(lines[1]["loss"], 1.5);
  EXPECT_EQ(lines[1]["measures"]["flip_rate/conv"], 0.125);
  const auto files = event_files(folder.path());
  ASSERT_EQ(files.size(), 1U);
  const auto events = events_of(files[0]);
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  EXPECT_EQ(events[2].step(), 10);
  EXPECT_EQ(scalars_of(events[2]).count("test_accuracy"), 0U);
  EXPECT_EQ(events[3].step(), 30);
  EXPECT_GT(events[3].wall_time(), 1.6e9);
  EXPECT_EQ(scalars_of(events[3]), (std::map<std::string, float>{{"loss", 1.5F},
                                                                 {"test_accuracy", 0.5F},
                                                                 {"learning_rate", 0.05F},
                                                                 {"flip_rate/conv", 0.125F}}));
}

TEST(RunLog, OfARunThatGoesOnHasEachEpochOnce) {
  const ounce::testing::TemporaryFolder folder;
  const auto record = [](const char* stage, int64_t epoch, double loss) {
    return EpochRecord{stage, epoch, 10 * epoch, loss, {}, 0, {}};
  };
  {
    RunLog log(folder.path());
    for (const int64_t epoch : {1, 2, 3}) log.add(record("float", epoch, 1), 0);
  }
  std::ofstream(folder.path() / "log.jsonl", std::ios::app) << R"({"stage": "flo)";  // killed
  RunLog log(folder.path());
  log.add(record("float", 2, 2), 0);
  log.add(record("low", 1, 2), 20);
  std::string epochs;
  for (const auto& line : lines_of(folder.path() / "log.jsonl")) {
    epochs +=
        line["stage"].get<std::string>() + line["step"].dump() + ':' + line["loss"].dump() + ' ';
  }
  EXPECT_EQ(epochs, "float10:1.0 float20:2.0 low10:2.0 ");
  // TensorBoard forgets what earlier files hold from the second file's START on.
  const auto files = event_files(folder.path());
  ASSERT_EQ(files.size(), 2U);
  const auto events = events_of(files[1]);
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[1].session_log().status(), events::SessionLog::START);
  EXPECT_EQ(events[1].step(), 20);
  EXPECT_EQ(events[3].step(), 30);
}

TEST(RunLog, WhatCannotBeWrittenIsAnErrorWithTheFilesName) {
  const ounce::testing::TemporaryFolder folder;
  RunLog log(folder.path() / "missing");
  EXPECT_THROW(log.add({"float", 1, 10, 2.5, 0.25, 0.1, {}}, 0), Error);
  EventFile events(folder.path() / "missing");
  try {
    events.add(1, {{"loss", 1.0}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("tfevents"), std::string::npos);
  }
}

}  // namespace
}  // namespace ounce::recipes
