#include "formats/formats.h"

#include <algorithm>
#include <cctype>
#include <span>
#include <string>
#include <string_view>

#include "formats/onnx/onnx.h"
#include "formats/ounce_file/located.h"
#include "formats/ounce_file/mapped_file.h"
#include "formats/ounce_file/ounce_file.h"
#include "formats/ounce_file/safetensors.h"
#include "formats/torch/torch_checkpoint.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

std::string extension_of(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

/// An ONNX message begins with one of its fields: a tag 1 to 25 with the wire type of that field
/// (numbers for versions, length-prefixed for everything else).
bool may_be_onnx(std::span<const std::byte> bytes) {
  if (bytes.empty()) return false;
  const auto tag = static_cast<unsigned>(bytes[0]);
  const unsigned field = tag >> 3;
  const unsigned wire = tag & 7;
  const bool number = field == 1 || field == 5;
  const bool known = (field >= 1 && field <= 8) || field == 14 || field == 20 || field == 25;
  return known && wire == (number ? 0u : 2u);
}

/// What a file of another kind is, judged by its first bytes; empty when unknown.
std::string_view foreign_kind(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              std::min<size_t>(bytes.size(), 8));
  if (text.starts_with("GGUF")) return "a GGUF file";
  if (text.starts_with("PK"))
    return "a zip archive (a PyTorch checkpoint? ounce convert --architecture reads those)";
  if (text.starts_with("\x93NUMPY")) return "a NumPy array";
  if (text.starts_with("\x89PNG") || text.starts_with("\xff\xd8")) return "a picture";
  if (text.substr(std::min<size_t>(4, text.size())).starts_with("TFL3")) return "a TFLite model";
  return {};
}

}  // namespace

std::map<std::string, Tensor> read_checkpoint(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  if (!looks_like_safetensors(file->bytes())) return read_torch_checkpoint(path);
  return located(path.string(), [&] {
    std::map<std::string, Tensor> tensors;
    for (const auto& [name, entry] : parse_safetensors(file->bytes()).entries) {
      tensors[name] = Tensor::borrow(entry.dtype, entry.shape, entry.bytes, file);
    }
    return tensors;
  });
}

Graph read_model(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  if (file->bytes().empty()) {
    throw Error("the file is empty", path.string(), "export or download the model again");
  }
  const std::string extension = extension_of(path);
  if (looks_like_safetensors(file->bytes()) || extension == ".ounce") return read_ounce(path);
  const std::string_view foreign = foreign_kind(file->bytes());
  if (foreign.empty() && (extension == ".onnx" || may_be_onnx(file->bytes()))) {
    return read_onnx(path);
  }
  const std::string found = foreign.empty() ? "" : ", it is " + std::string(foreign);
  throw Error("not an ONNX or .ounce file" + found, path.string(),
              "export the model to ONNX and name that file");
}

void write_model(const Graph& graph, const std::filesystem::path& path) {
  const std::string extension = extension_of(path);
  if (extension == ".onnx") return write_onnx(graph, path);
  if (extension == ".ounce") return write_ounce(graph, path);
  throw Error("no format has the extension '" + extension + "'", path.string(),
              "a name that ends in .onnx or .ounce");
}

}  // namespace ounce::formats
