#pragma once

// Internal to tasks/: one reader a kind of data set. Each returns an unordered, unlimited index.
#include <nlohmann/json_fwd.hpp>

#include "tasks/dataset.h"

namespace ounce::tasks {

Dataset read_class_folders(const std::filesystem::path& folder, const DatasetOptions& options);
Dataset read_list(const std::filesystem::path& file, const DatasetOptions& options);
Dataset read_pictures(const std::filesystem::path& folder);
/// `root`: what the file holds, an object.
Dataset read_coco(const std::filesystem::path& file, const nlohmann::json& root,
                  const DatasetOptions& options);
Dataset read_text_regions(const std::filesystem::path& file, const nlohmann::json& root,
                          const DatasetOptions& options);
/// `split` names a list under ImageSets/Main, or is empty for every annotation.
Dataset read_voc(const std::filesystem::path& folder, const std::filesystem::path& split,
                 const DatasetOptions& options);

/// Names of the pictures directly in `folder`, sorted.
std::vector<std::filesystem::path> pictures_in(const std::filesystem::path& folder);

/// Gives every sample its picture in the folder of small ones. Throws `Error` naming the first that
/// has none.
void pair_low_resolution(Dataset& dataset, const std::filesystem::path& folder);

/// Assigns class indices by name: the given order, else the order of first use by `finish`.
class ClassTable {
 public:
  /// `given` may be empty: then names are collected and `sorted` puts them in order.
  explicit ClassTable(std::vector<std::string> given);

  /// Index of `name`; with a given order, throws `Error` naming `where` for an unknown name.
  int64_t index(const std::string& name, const std::string& where);
  const std::vector<std::string>& names() const { return names_; }
  /// Sorts collected names; returns new index by old. The identity for a given order.
  std::vector<int64_t> sort();

 private:
  bool given_;
  std::vector<std::string> names_;
};

/// `folder / name`, refusing (with an `Error` naming `where`) absolute names and names that climb
/// out of the folder: names in annotation files are not to be trusted.
std::filesystem::path confined(const std::filesystem::path& folder, const std::string& name,
                               const std::string& where);

}  // namespace ounce::tasks
