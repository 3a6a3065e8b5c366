#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ounce::report {

/// "812 B", "23.4 kB", "5.71 MB" (powers of 1000, as disks and issues count).
std::string bytes_text(int64_t bytes);

/// "5.72 M", "1.26 G": three significant digits.
std::string count_text(int64_t count);

/// "0.042 ms", "10.5 ms", "1.20 s".
std::string milliseconds_text(double milliseconds);

/// "42 s", "3 min 05 s", "2 h 10 min": rounded up, for time left and estimates.
std::string duration_text(double seconds);

/// "3.92x"; "-" when either is not positive.
std::string ratio_text(double numerator, double denominator);

/// Fixed digits, or "-" when absent or not finite.
std::string number_text(std::optional<double> value, int digits);

/// A metric for people: percentages for "%", plain digits otherwise, "-" when absent.
std::string metric_text(std::optional<double> value, std::string_view unit);

/// Text from a file made fit for a terminal: control characters, escapes and broken UTF-8 become
/// '?'.
std::string printable(std::string_view text);

/// Bytes as text (RFC 4648, section 4).
std::string base64(std::span<const uint8_t> bytes);

/// `text` with the five HTML special characters replaced by entities.
std::string html_escaped(std::string_view text);

}  // namespace ounce::report
