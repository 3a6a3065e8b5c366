// Data sets that are folders or lists of pictures.
#include <algorithm>
#include <map>

#include "graph/error.h"
#include "tasks/dataset_readers.h"
#include "tasks/read_file.h"
#include "tasks/text.h"

namespace ounce::tasks {
namespace fs = std::filesystem;

std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::vector<fs::path> pictures;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (has_picture_extension(entry.path()) && entry.is_regular_file()) {
      pictures.push_back(entry.path());
    }
  }
  std::sort(pictures.begin(), pictures.end());
  return pictures;
}

fs::path confined(const fs::path& folder, const std::string& name, const std::string& where) {
  const fs::path relative = fs::path(name).lexically_normal();
  const bool climbs = relative.is_absolute() || relative.empty() ||
                      *relative.begin() == fs::path("..") || name.find('\0') != std::string::npos;
  if (climbs) {
    throw Error("picture name '" + name + "' leads outside the folder of pictures", where,
                "names relative to that folder");
  }
  return folder / relative;
}

ClassTable::ClassTable(std::vector<std::string> given)
    : given_(!given.empty()), names_(std::move(given)) {}

int64_t ClassTable::index(const std::string& name, const std::string& where) {
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end() && given_) {
    throw Error("class '" + name + "' is not one of the model's " + std::to_string(names_.size()) +
                    " classes",
                where, "a class list with the names that the data set uses");
  }
  const int64_t position = found - names_.begin();
  if (found == names_.end()) names_.push_back(name);
  return position;
}

std::vector<int64_t> ClassTable::sort() {
  std::vector<int64_t> new_index(names_.size());
  std::vector<std::string> sorted = names_;
  if (!given_) std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < names_.size(); ++i) {
    new_index[i] = std::find(sorted.begin(), sorted.end(), names_[i]) - sorted.begin();
  }
  names_ = std::move(sorted);
  return new_index;
}

Dataset read_pictures(const fs::path& folder) {
  Dataset dataset;
  dataset.kind = DatasetKind::pictures;
  dataset.root = folder;
  for (const fs::path& picture : pictures_in(folder)) {
    Sample& sample = dataset.samples.emplace_back();
    sample.path = picture;
    sample.name = picture.filename().string();
  }
  return dataset;
}

namespace {

/// Class index by folder name: the number itself when every folder is called by a number (each
/// once), the place in the given names when all are found there, else alphabetical order.
std::map<std::string, int64_t> class_indices(const std::vector<std::string>& folders,
                                             const std::vector<std::string>& given) {
  std::map<std::string, int64_t> by_name;
  for (size_t i = 0; i < given.size(); ++i) by_name.emplace(given[i], static_cast<int64_t>(i));
  const auto known = [&](const std::string& name) { return by_name.contains(name); };
  if (!given.empty() && std::all_of(folders.begin(), folders.end(), known)) return by_name;

  std::map<std::string, int64_t> indices;
  for (const std::string& folder : folders) {
    const std::optional<int64_t> number = parse_integer(folder);
    if (!number || *number < 0 || *number > 1'000'000) {
      indices.clear();
      break;
    }
    indices[folder] = *number;
  }
  if (indices.empty()) {
    for (const std::string& folder : folders) {
      const auto index = static_cast<int64_t>(indices.size());
      indices[folder] = index;
    }
  }
  return indices;
}

std::vector<std::string> sorted_subfolders(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && !name.starts_with('.')) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Dataset read_class_folders(const fs::path& folder, const DatasetOptions& options) {
  Dataset dataset;
  dataset.kind = DatasetKind::class_folders;
  dataset.root = folder;
  const std::vector<std::string> folders = sorted_subfolders(folder);
  const std::map<std::string, int64_t> indices = class_indices(folders, options.classes);
  for (const std::string& name : folders) {
    const int64_t index = indices.at(name);
    const auto needed = static_cast<size_t>(index) + 1;
    if (dataset.classes.size() < needed) dataset.classes.resize(needed);
    dataset.classes[static_cast<size_t>(index)] = name;
    for (const fs::path& picture : pictures_in(folder / name)) {
      Sample& sample = dataset.samples.emplace_back();
      sample.path = picture;
      sample.name = name + "/" + picture.filename().string();
      sample.class_index = index;
    }
  }
  if (!options.classes.empty() && options.classes.size() >= dataset.classes.size()) {
    dataset.classes = options.classes;
  }
  return dataset;
}

Dataset read_list(const fs::path& file, const DatasetOptions& options) {
  Dataset dataset;
  dataset.kind = DatasetKind::list;
  dataset.root = file.parent_path();
  dataset.classes = options.classes;
  const std::vector<std::string> lines = split_lines(read_text_file(file));
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    if (line.empty() || line.front() == '#') continue;
    // The label is the last word, so that names of pictures may hold blanks.
    const size_t blank = line.find_last_of(" \t");
    const std::optional<int64_t> label =
        blank == std::string::npos ? std::nullopt : parse_integer(line.substr(blank + 1));
    if (!label || *label < 0 || *label > 1'000'000) {
      throw Error("the line is not 'path label'", file.string() + ":" + std::to_string(i + 1),
                  "a picture's path, a blank, and its class number");
    }
    Sample& sample = dataset.samples.emplace_back();
    sample.name = line.substr(0, line.find_last_not_of(" \t", blank) + 1);
    sample.path = dataset.root / sample.name;
    sample.class_index = *label;
  }
  return dataset;
}

}  // namespace ounce::tasks
