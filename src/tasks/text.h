#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tasks/preprocess.h"

namespace ounce::tasks {

/// The parts between separators, blanks dropped; an empty text is one empty part.
std::vector<std::string> split(const std::string& text, char separator);

/// The whole text as a number; nullopt when anything is left over, or when it is not finite.
std::optional<int64_t> parse_integer(const std::string& text);
std::optional<double> parse_number(const std::string& text);

/// "rgb" or "bgr"; throws `Error` naming `where`.
ChannelOrder parse_channel_order(const std::string& text, const std::string& where);

}  // namespace ounce::tasks
