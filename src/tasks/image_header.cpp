#include "tasks/image_header.h"

#include <algorithm>
#include <array>

#include "graph/error.h"
#include "tasks/image.h"

namespace ounce::tasks {
namespace {

constexpr std::array<uint8_t, 8> kPngSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

/// Big-endian unsigned number of `count` bytes; the caller has checked that they exist.
int64_t big_endian(std::span<const uint8_t> bytes, size_t offset, size_t count) {
  int64_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | bytes[offset + i];
  return value;
}

void check_size(int64_t width, int64_t height, const std::string& name) {
  if (width > kMaxSide || height > kMaxSide || width * height > kMaxPixels) {
    throw Error(
        "the picture claims " + std::to_string(width) + " x " + std::to_string(height) + " pixels",
        name, "a picture of at most " + std::to_string(kMaxPixels) + " pixels");
  }
}

bool is_frame_header(uint8_t marker) {
  // C4, C8 and CC lie in the range of the frame headers and are something else.
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/// Position of the next marker byte (the one after 0xff) inside entropy-coded data, where 0xff00 is
/// a stuffed byte and 0xffd0..d7 are restarts; size when there is none.
size_t skip_entropy_data(std::span<const uint8_t> bytes, size_t at) {
  for (; at + 1 < bytes.size(); ++at) {
    if (bytes[at] != 0xff) continue;
    const uint8_t next = bytes[at + 1];
    if (next != 0 && next != 0xff && !(next >= 0xd0 && next <= 0xd7)) return at;
  }
  return bytes.size();
}

/// Walks the segments of a JPEG file to its end-of-image marker.
void check_jpeg(std::span<const uint8_t> bytes, const std::string& name) {
  const auto truncated = [&](const char* where) {
    return Error(std::string("truncated JPEG: the file ends ") + where, name,
                 "copying the picture again, or leaving it out");
  };
  size_t at = 2;
  bool scanned = false;
  while (true) {
    if (scanned) at = skip_entropy_data(bytes, at);
    if (at + 2 > bytes.size()) throw truncated(scanned ? "inside the picture" : "in its header");
    const uint8_t marker = bytes[at + 1];
    if (bytes[at] != 0xff || marker == 0xff) {  // padding before a marker
      ++at;
      continue;
    }
    if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {  // markers without a segment
      at += 2;
      continue;
    }
    if (marker == 0xd9) {
      if (!scanned) throw truncated("before any picture data");
      return;
    }
    if (at + 4 > bytes.size()) throw truncated("in a segment header");
    const auto length = static_cast<size_t>(big_endian(bytes, at + 2, 2));
    if (length < 2 || length > bytes.size() - at - 2) throw truncated("in a segment");
    if (is_frame_header(marker) && length >= 7) {
      check_size(big_endian(bytes, at + 7, 2), big_endian(bytes, at + 5, 2), name);
    }
    scanned = scanned || marker == 0xda;
    at += 2 + length;
  }
}

/// The checksum that ends every PNG chunk (CRC-32, reflected polynomial edb88320).
uint32_t crc32(std::span<const uint8_t> bytes) {
  static const std::array<uint32_t, 256> kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0);
      table[i] = value;
    }
    return table;
  }();
  uint32_t crc = ~0u;
  for (const uint8_t byte : bytes) crc = kTable[(crc ^ byte) & 255] ^ (crc >> 8);
  return ~crc;
}

/// Walks the chunks of a PNG file (length, type, data, checksum) to its IEND.
void check_png(std::span<const uint8_t> bytes, const std::string& name) {
  constexpr size_t kFrame = 12;  // length, type and checksum
  const std::string remedy = "copying the picture again, or leaving it out";
  size_t at = kPngSignature.size();
  while (true) {
    if (bytes.size() - at < kFrame) throw Error("truncated PNG", name, remedy);
    const auto length = static_cast<size_t>(big_endian(bytes, at, 4));
    if (length > bytes.size() - at - kFrame) throw Error("truncated PNG", name, remedy);
    const std::span<const uint8_t> body = bytes.subspan(at + 4, length + 4);
    if (crc32(body) != big_endian(bytes, at + 8 + length, 4)) {
      throw Error("damaged PNG: wrong checksum at byte " + std::to_string(at), name, remedy);
    }
    const std::string type(body.begin(), body.begin() + 4);
    if (type == "IHDR" && length >= 8) {
      check_size(big_endian(body, 4, 4), big_endian(body, 8, 4), name);
    }
    if (type == "IEND") return;
    at += kFrame + length;
  }
}

}  // namespace

void check_image_header(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.empty()) throw Error("the file is empty", name, "a JPEG, PNG, BMP, WebP or TIFF file");
  if (bytes.size() >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff) {
    check_jpeg(bytes, name);
  }
  if (bytes.size() >= kPngSignature.size() &&
      std::equal(kPngSignature.begin(), kPngSignature.end(), bytes.begin())) {
    check_png(bytes, name);
  }
}

}  // namespace ounce::tasks
