#include "report/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace ounce::report {
namespace {

/// Three significant digits of a value in [1, 1000).
std::string three_digits(double value) {
  if (value < 9.995) return fmt::format("{:.2f}", value);
  if (value < 99.95) return fmt::format("{:.1f}", value);
  return fmt::format("{:.0f}", value);
}

std::string scaled_text(int64_t count, std::string_view unit) {
  static constexpr std::array<std::string_view, 7> kPrefixes{"", "k", "M", "G", "T", "P", "E"};
  const bool negative = count < 0;
  double value = std::abs(static_cast<double>(count));
  size_t prefix = 0;
  // 999.5 would be shown as 1000.
  while (value >= 999.5 && prefix + 1 < kPrefixes.size()) {
    value /= 1000;
    ++prefix;
  }
  std::string text = prefix == 0 ? fmt::format("{:.0f}", value) : three_digits(value);
  if (negative) text.insert(0, "-");
  if (prefix > 0 || !unit.empty()) text += fmt::format(" {}{}", kPrefixes[prefix], unit);
  return text;
}

/// Length of the well-formed UTF-8 sequence at the start of `text`, 0 when it is broken.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and beyond U+10FFFF.
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

}  // namespace

std::string bytes_text(int64_t bytes) {
  return scaled_text(bytes, "B");
}

std::string count_text(int64_t count) {
  return scaled_text(count, "");
}

std::string milliseconds_text(double milliseconds) {
  if (!std::isfinite(milliseconds)) return "-";
  if (milliseconds >= 999.5) return three_digits(milliseconds / 1000) + " s";
  if (milliseconds < 0.9995) return fmt::format("{:.3f} ms", milliseconds);
  return three_digits(milliseconds) + " ms";
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string ratio_text(double numerator, double denominator) {
  if (!(numerator > 0) || !(denominator > 0)) return "-";
  return fmt::format("{:.2f}x", numerator / denominator);
}

std::string number_text(std::optional<double> value, int digits) {
  if (!value || !std::isfinite(*value)) return "-";
  return fmt::format("{:.{}f}", *value, digits);
}

std::string metric_text(std::optional<double> value, std::string_view unit) {
  if (!value || !std::isfinite(*value)) return "-";
  if (unit == "%") return fmt::format("{:.2f} %", *value * 100);
  if (unit.empty()) return fmt::format("{:.4f}", *value);
  return fmt::format("{:.3f} {}", *value, unit);
}

std::string printable(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const unsigned char lead = static_cast<unsigned char>(text[0]);
    // C1 controls (U+0080..U+009F) steer terminals just as ESC does.
    const bool control =
        lead < 0x20 || lead == 0x7f ||
        (lead == 0xc2 && length == 2 && static_cast<unsigned char>(text[1]) < 0xa0);
    if (length == 0 || control) {
      clean += '?';
      text.remove_prefix(length == 0 ? 1 : length);
    } else {
      clean += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return clean;
}

std::string base64(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) group = (group << 8U) | (j < count ? bytes[i + j] : 0U);
    for (size_t j = 0; j < 4; ++j) {
      text += j <= count ? kDigits[(group >> (18U - 6U * j)) & 63U] : '=';
    }
  }
  return text;
}

std::string html_escaped(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

}  // namespace ounce::report
