#include "recipes/event_file.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <climits>
#include <fstream>

#include "graph/error.h"
#include "recipes/event.pb.h"

namespace ounce::recipes {
namespace {

constexpr uint32_t kReflectedPolynomial = 0x82f63b78;
constexpr uint32_t kMask = 0xa282ead8;
constexpr const char* kVersion = "brain.Event:2";

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1) ^ ((value & 1) != 0 ? kReflectedPolynomial : 0);
    }
    table[byte] = value;
  }
  return table;
}

template <class Number>
std::string little_endian(Number number) {
  std::string bytes;
  for (size_t i = 0; i < sizeof number; ++i) {
    bytes.push_back(static_cast<char>((number >> (8 * i)) & 0xff));
  }
  return bytes;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string machine_name() {
  char name[HOST_NAME_MAX + 1] = {};
  return gethostname(name, HOST_NAME_MAX) == 0 && *name != '\0' ? name : "machine";
}

events::Event event_at(int64_t step) {
  events::Event event;
  event.set_wall_time(now());
  event.set_step(step);
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t sum = ~uint32_t{0};
  for (const char byte : bytes) {
    sum = (sum >> 8) ^ kTable[(sum ^ static_cast<uint8_t>(byte)) & 0xff];
  }
  return ~sum;
}

uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t sum = crc32c(bytes);
  return ((sum >> 15) | (sum << 17)) + kMask;
}

void EventFile::append(const std::string& message) const {
  const std::string length = little_endian(static_cast<uint64_t>(message.size()));
  std::ofstream file(path_, std::ios::binary | std::ios::app);
  file << length << little_endian(masked_crc32c(length)) << message
       << little_endian(masked_crc32c(message));
  file.flush();
  if (!file) throw Error("cannot be written", path_.string(), "room on the disk");
}

void EventFile::begin(int64_t step) {
  const std::string start = "events.out.tfevents." + std::to_string(static_cast<int64_t>(now())) +
                            '.' + machine_name() + '.' + std::to_string(getpid()) + '.';
  int number = 0;
  while (std::filesystem::exists(folder_ / (start + std::to_string(number)))) ++number;
  path_ = folder_ / (start + std::to_string(number));
  events::Event version = event_at(0);
  version.set_file_version(kVersion);
  append(version.SerializeAsString());
  events::Event session = event_at(step);
  session.mutable_session_log()->set_status(events::SessionLog::START);
  append(session.SerializeAsString());
}

void EventFile::add(int64_t step, const std::map<std::string, double>& scalars) {
  if (path_.empty()) begin(step);
  events::Event event = event_at(step);
  for (const auto& [name, number] : scalars) {
    events::Summary::Value* value = event.mutable_summary()->add_value();
    value->set_tag(name);
    value->set_simple_value(static_cast<float>(number));
  }
  append(event.SerializeAsString());
}

}  // namespace ounce::recipes
