#include <algorithm>

#include "formats/onnx/tensor_proto.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRemedy = "put the data file into the folder of the model";

bool climbs(const fs::path& location) {
  return std::any_of(location.begin(), location.end(),
                     [](const fs::path& part) { return part == ".."; });
}

bool lies_inside(const fs::path& file, const fs::path& folder) {
  const auto [end, ignored] = std::mismatch(folder.begin(), folder.end(), file.begin(), file.end());
  return end == folder.end();
}

}  // namespace

fs::path ExternalData::resolve(const std::string& location) const {
  const std::string where = "external data '" + location + "'";
  if (folder_.empty()) {
    throw Error("external data cannot be used here", where, "read the model from its own file");
  }
  const fs::path relative(location);
  if (location.empty() || location.find('\0') != std::string::npos || relative.is_absolute() ||
      relative.has_root_path() || climbs(relative)) {
    throw Error("the path leaves the folder of the model", where, kRemedy);
  }
  std::error_code failure;
  const fs::path folder = fs::canonical(folder_, failure);
  if (failure) throw Error("no such folder: " + folder_.string(), where);
  fs::path file = fs::canonical(folder / relative, failure);
  if (failure) throw Error("the data file is missing", where, kRemedy);
  if (!lies_inside(file, folder)) {
    throw Error("a link leads out of the folder of the model", where, kRemedy);
  }
  return file;
}

std::shared_ptr<const MappedFile> ExternalData::open(const std::string& location) {
  const fs::path file = resolve(location);
  auto& mapped = files_[file];
  if (mapped == nullptr) mapped = MappedFile::open(file);
  return mapped;
}

}  // namespace ounce::formats
