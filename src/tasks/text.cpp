#include "tasks/text.h"

#include <charconv>
#include <cmath>

#include "graph/error.h"

namespace ounce::tasks {
namespace {

template <class T>
std::optional<T> parse_whole(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

}  // namespace

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else if (c != ' ') {
      parts.back() += c;
    }
  }
  return parts;
}

std::optional<int64_t> parse_integer(const std::string& text) {
  return parse_whole<int64_t>(text);
}

std::optional<double> parse_number(const std::string& text) {
  const std::optional<double> value = parse_whole<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

ChannelOrder parse_channel_order(const std::string& text, const std::string& where) {
  if (text == "rgb") return ChannelOrder::rgb;
  if (text == "bgr") return ChannelOrder::bgr;
  throw Error("unknown channel order '" + text + "'", where, "rgb or bgr");
}

}  // namespace ounce::tasks
