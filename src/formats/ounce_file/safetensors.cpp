#include "formats/ounce_file/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "formats/ounce_file/atomic_file.h"
#include "formats/ounce_file/strict_json.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kAlignment = 64;
// The reference implementation refuses headers over 100 MB; parsed JSON takes some tens of times
// its text, so the bound also bounds memory.
constexpr uint64_t kMaximumHeader = 100'000'000;
constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::string_view kPaddingPrefix = "__padding__.";

constexpr std::array<std::pair<std::string_view, DType>, 13> kTypes = {{{"F64", DType::f64},
                                                                        {"F32", DType::f32},
                                                                        {"F16", DType::f16},
                                                                        {"BF16", DType::bf16},
                                                                        {"I64", DType::i64},
                                                                        {"I32", DType::i32},
                                                                        {"I16", DType::i16},
                                                                        {"I8", DType::i8},
                                                                        {"U64", DType::u64},
                                                                        {"U32", DType::u32},
                                                                        {"U16", DType::u16},
                                                                        {"U8", DType::u8},
                                                                        {"BOOL", DType::boolean}}};

DType type_from_name(const std::string& name, const std::string& what) {
  for (const auto& [candidate, dtype] : kTypes) {
    if (candidate == name) return dtype;
  }
  throw Error("element type '" + name + "' is not known", what);
}

std::string_view name_of_type(DType dtype) {
  for (const auto& [name, candidate] : kTypes) {
    if (candidate == dtype) return name;
  }
  throw Error("safetensors has no type for " + std::string(name_of(dtype)));
}

uint64_t read_length(std::span<const std::byte> bytes) {
  uint64_t length = 0;
  for (size_t i = kLengthBytes; i-- > 0;) length = length << 8 | static_cast<uint64_t>(bytes[i]);
  return length;
}

std::string_view header_text(std::span<const std::byte> bytes) {
  if (bytes.size() < kLengthBytes) {
    throw Error("the file has " + std::to_string(bytes.size()) +
                    " bytes, too few for the length of a header",
                "byte 0", "the file is cut off; write or download it again");
  }
  const uint64_t length = read_length(bytes);
  if (length > bytes.size() - kLengthBytes) {
    throw Error("the header claims " + std::to_string(length) + " bytes, the file has " +
                    std::to_string(bytes.size() - kLengthBytes),
                "byte 0", "the file is cut off or of another kind");
  }
  if (length > kMaximumHeader) {
    throw Error("the header of " + std::to_string(length) + " bytes is too large", "byte 0");
  }
  return {reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, static_cast<size_t>(length)};
}

/// [begin, end) in the data part, checked against its size and the shape.
SafetensorsEntry parse_entry(const std::string& name, const Json& json,
                             std::span<const std::byte> data) {
  const std::string what = "tensor '" + name + "'";
  SafetensorsEntry entry;
  entry.name = name;
  entry.dtype = type_from_name(as_string(member(json, "dtype", what), what), what);
  entry.shape = as_shape(member(json, "shape", what), what);
  const std::vector<int64_t> range = as_ints(member(json, "data_offsets", what), what);
  if (range.size() != 2 || range[0] < 0 || range[1] < range[0] ||
      static_cast<uint64_t>(range[1]) > data.size()) {
    throw Error("its offsets lie outside the " + std::to_string(data.size()) + " bytes of data",
                what, "the file is cut off or damaged");
  }
  const auto size = static_cast<uint64_t>(range[1] - range[0]);
  if (size != byte_size(entry.dtype, element_count(entry.shape))) {
    throw Error("shape " + to_string(entry.shape) + " of " + std::string(name_of(entry.dtype)) +
                    " does not fit its " + std::to_string(size) + " bytes",
                what, "the file is damaged");
  }
  entry.bytes = data.subspan(static_cast<size_t>(range[0]), static_cast<size_t>(size));
  return entry;
}

/// Every byte of the data must belong to exactly one tensor.
void check_coverage(const std::vector<SafetensorsEntry>& entries, std::span<const std::byte> data) {
  std::vector<const SafetensorsEntry*> sorted;
  for (const SafetensorsEntry& entry : entries) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) {
    return std::pair(a->bytes.data(), a->bytes.size()) <
           std::pair(b->bytes.data(), b->bytes.size());
  });
  const std::byte* end = data.data();
  for (const SafetensorsEntry* entry : sorted) {
    if (entry->bytes.data() != end) {
      throw Error(entry->bytes.data() < end ? "overlaps another tensor"
                                            : "leaves a gap of unnamed bytes before it",
                  "tensor '" + entry->name + "'", "the file is damaged");
    }
    end += entry->bytes.size();
  }
  if (end != data.data() + data.size()) throw Error("unnamed bytes follow the last tensor");
}

void write_length(AtomicFile& file, uint64_t length) {
  std::array<std::byte, kLengthBytes> bytes;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    bytes[i] = static_cast<std::byte>(length >> (8 * i) & 0xff);
  }
  file.write(bytes);
}

Json entry_json(std::string_view type, const Shape& shape, uint64_t begin, uint64_t end) {
  return {{"dtype", type}, {"shape", shape}, {"data_offsets", {begin, end}}};
}

uint64_t rounded_up(uint64_t position) {
  return (position + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

bool is_reserved_name(std::string_view name) {
  return name == kMetadataKey || name.starts_with(kPaddingPrefix);
}

Safetensors parse_safetensors(std::span<const std::byte> bytes) {
  const std::string_view text = header_text(bytes);
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + text.size());
  const Json header = parse_json(text, "header");
  Safetensors result;
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, json] : as_object(header, "header").items()) {
    if (name == kMetadataKey) {
      for (const auto& [key, value] : as_object(json, "metadata").items()) {
        result.metadata[key] = as_string(value, "metadata '" + key + "'");
      }
    } else {
      entries.push_back(parse_entry(name, json, data));
    }
  }
  check_coverage(entries, data);
  for (SafetensorsEntry& entry : entries) {
    if (is_reserved_name(entry.name)) continue;
    std::string name = entry.name;
    result.entries.emplace(std::move(name), std::move(entry));
  }
  return result;
}

void write_safetensors(const std::map<std::string, std::string>& metadata,
                       std::span<const SafetensorsEntry> entries,
                       const std::filesystem::path& path) {
  Json header = Json::object();
  header[std::string(kMetadataKey)] = metadata;
  uint64_t position = 0;
  size_t fillers = 0;
  std::vector<uint64_t> starts;
  for (const SafetensorsEntry& entry : entries) {
    starts.push_back(position);
    const uint64_t end = position + entry.bytes.size();
    header[entry.name] = entry_json(name_of_type(entry.dtype), entry.shape, position, end);
    position = rounded_up(end);
    if (position == end) continue;
    header[std::string(kPaddingPrefix) + std::to_string(fillers++)] =
        entry_json("U8", {static_cast<int64_t>(position - end)}, end, position);
  }
  std::string text = dump_json(header, path.string());
  text.append(rounded_up(kLengthBytes + text.size()) - kLengthBytes - text.size(), ' ');
  if (text.size() > kMaximumHeader) {
    throw Error("the graph needs a header of " + std::to_string(text.size()) +
                    " bytes, more than a safetensors file can have",
                path.string());
  }
  AtomicFile file(path);
  write_length(file, text.size());
  file.write(text);
  const uint64_t data_start = file.position();
  for (size_t i = 0; i < entries.size(); ++i) {
    file.pad_to(data_start + starts[i]);
    file.write(entries[i].bytes);
  }
  file.pad_to(data_start + position);
  file.commit();
}

}  // namespace ounce::formats
