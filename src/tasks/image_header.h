#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace ounce::tasks {

/// What a decoder would not tell: refuses, with an `Error` that names `name`, an empty file, a JPEG
/// that stops before its end (decoders fill the rest with grey and go on), a PNG with a wrong
/// checksum (its decoder prints), and a JPEG or PNG whose header claims more than kMaxPixels. Other
/// formats pass.
void check_image_header(std::span<const uint8_t> bytes, const std::string& name);

}  // namespace ounce::tasks
