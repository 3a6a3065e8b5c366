#include <map>

#include "graph/error.h"
#include "tasks/dataset_readers.h"

namespace ounce::tasks {
namespace {

namespace fs = std::filesystem;

/// "bird" for "birdx4", as benchmarks name pictures that were made small; else the name itself.
std::string without_scale(const std::string& stem) {
  const size_t digits = stem.find_last_not_of("0123456789");
  const bool scaled =
      digits != std::string::npos && digits > 0 && digits + 1 < stem.size() && stem[digits] == 'x';
  return scaled ? stem.substr(0, digits) : stem;
}

}  // namespace

void pair_low_resolution(Dataset& dataset, const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    throw Error("is not a folder", folder.string(), "the folder of the small pictures");
  }
  std::map<std::string, fs::path> by_name;
  const std::vector<fs::path> pictures = pictures_in(folder);
  for (const fs::path& picture : pictures) {
    by_name.emplace(without_scale(picture.stem().string()), picture);
  }
  // A name that is the very same goes first.
  for (const fs::path& picture : pictures) {
    by_name[picture.stem().string()] = picture;
  }
  for (Sample& sample : dataset.samples) {
    const auto found = by_name.find(sample.path.stem().string());
    if (found == by_name.end()) {
      throw Error("has no small picture of " + sample.name, folder.string(),
                  "pictures of the same names");
    }
    sample.low_resolution = found->second;
  }
}

}  // namespace ounce::tasks
