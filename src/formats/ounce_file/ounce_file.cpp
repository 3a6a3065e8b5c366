#include "formats/ounce_file/ounce_file.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "formats/ounce_file/adopt.h"
#include "formats/ounce_file/graph_json.h"
#include "formats/ounce_file/located.h"
#include "formats/ounce_file/mapped_file.h"
#include "formats/ounce_file/safetensors.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

constexpr const char* kGraphKey = "ounce.graph";
constexpr const char* kFormatKey = "ounce.format";
constexpr const char* kFormatVersion = "1";

bool is_own_key(const std::string& key) {
  return key == kGraphKey || key == kFormatKey;
}

/// Collects the tensors of a graph as entries of the container.
class TensorStore {
 public:
  std::string add(const std::string& name, const Tensor& tensor) {
    std::string key = is_reserved_name(name) ? "value." + name : name;
    while (!names_.insert(key).second) key += "'";
    const auto bytes = std::span(tensor.raw(), tensor.bytes());
    const bool packed = is_packed(tensor.dtype());
    // Elements of less than a byte have no safetensors type: their bytes are stored.
    entries_.push_back({key, packed ? DType::u8 : tensor.dtype(),
                        packed ? Shape{static_cast<int64_t>(bytes.size())} : tensor.shape(),
                        bytes});
    return key;
  }

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }

 private:
  std::set<std::string> names_;
  std::vector<SafetensorsEntry> entries_;
};

Tensor fetch(const Safetensors& container, const std::shared_ptr<const void>& owner,
             const std::string& key, DType dtype, const Shape& shape) {
  const std::string what = "tensor '" + key + "'";
  const auto found = container.entries.find(key);
  if (found == container.entries.end()) throw Error("the file does not hold it", what);
  const SafetensorsEntry& entry = found->second;
  const bool fits =
      is_packed(dtype)
          ? entry.dtype == DType::u8 && entry.bytes.size() == byte_size(dtype, element_count(shape))
          : entry.dtype == dtype && entry.shape == shape;
  if (!fits) {
    throw Error("is stored as " + std::string(name_of(entry.dtype)) + " " + to_string(entry.shape) +
                    ", the graph wants " + std::string(name_of(dtype)) + " " + to_string(shape),
                what, "the file is damaged");
  }
  return adopt_bytes(dtype, shape, entry.bytes, owner);
}

}  // namespace

void write_ounce(const Graph& graph, const std::filesystem::path& path) {
  std::map<std::string, std::string> metadata = graph.metadata;
  for (const auto& [key, value] : metadata) {
    if (is_own_key(key)) throw Error("the metadata key '" + key + "' is reserved", path.string());
  }
  TensorStore tensors;
  const Json json = graph_to_json(graph, [&](const std::string& name, const Tensor& tensor) {
    return tensors.add(name, tensor);
  });
  metadata[kFormatKey] = kFormatVersion;
  metadata[kGraphKey] = dump_json(json, path.string());
  write_safetensors(metadata, tensors.entries(), path);
}

Graph read_ounce_bytes(std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  Safetensors container = parse_safetensors(bytes);
  const auto version = container.metadata.find(kFormatKey);
  const auto graph_text = container.metadata.find(kGraphKey);
  if (version == container.metadata.end() || graph_text == container.metadata.end()) {
    throw Error("a safetensors file with tensors only: it holds no graph", {},
                "name the .ounce or ONNX file of the model");
  }
  if (version->second != kFormatVersion) {
    throw Error("format version '" + version->second + "' is not supported", {},
                "a newer version of ounce");
  }
  const Json json = parse_json(graph_text->second, "graph");
  Graph graph = graph_from_json(json, [&](const std::string& key, DType dtype, const Shape& shape) {
    return fetch(container, owner, key, dtype, shape);
  });
  for (auto& [key, value] : container.metadata) {
    if (!is_own_key(key)) graph.metadata[key] = std::move(value);
  }
  return graph;
}

Graph read_ounce(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return located(path.string(), [&] {
    if (file->bytes().empty()) throw Error("the file is empty");
    return read_ounce_bytes(file->bytes(), file);
  });
}

bool looks_like_safetensors(std::span<const std::byte> bytes) {
  constexpr size_t kLengthBytes = 8;
  if (bytes.size() <= kLengthBytes || bytes[kLengthBytes] != std::byte{'{'}) return false;
  uint64_t length = 0;
  for (size_t i = kLengthBytes; i-- > 0;) length = length << 8 | static_cast<uint64_t>(bytes[i]);
  return length <= bytes.size() - kLengthBytes;
}

}  // namespace ounce::formats
