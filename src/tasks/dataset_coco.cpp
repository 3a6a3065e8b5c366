#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "graph/error.h"
#include "tasks/dataset_readers.h"
#include "tasks/read_file.h"

namespace ounce::tasks {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Checked access to the members of a JSON list element; errors name the file, list and element.
class Element {
 public:
  Element(const json& value, std::string where) : value_(value), where_(std::move(where)) {
    if (!value.is_object()) throw Error("is not an object", where_);
  }

  int64_t integer(const char* key) const {
    const json& member = get(key);
    // Identifiers written by careless tools come as 7.0.
    if (member.is_number_integer()) return member.get<int64_t>();
    const double value = number(key);
    if (std::abs(value) > 9e15 || value != std::floor(value)) {
      throw Error(std::string("'") + key + "' is not a whole number", where_);
    }
    return static_cast<int64_t>(value);
  }
  double number(const char* key) const {
    const json& member = get(key);
    if (!member.is_number()) throw Error(std::string("'") + key + "' is not a number", where_);
    return member.get<double>();
  }
  std::string text(const char* key) const {
    const json& member = get(key);
    if (!member.is_string()) throw Error(std::string("'") + key + "' is not a text", where_);
    return member.get<std::string>();
  }
  bool has(const char* key) const { return value_.contains(key) && !value_.at(key).is_null(); }
  const std::string& where() const { return where_; }

  /// COCO's [left, top, width, height].
  Box box() const {
    const json& member = get("bbox");
    if (!member.is_array() || member.size() != 4) throw Error("'bbox' is not four numbers", where_);
    std::array<double, 4> sides{};
    for (size_t i = 0; i < 4; ++i) {
      if (!member[i].is_number()) throw Error("'bbox' is not four numbers", where_);
      sides[i] = member[i].get<double>();
      if (!(std::abs(sides[i]) < 1e9)) throw Error("'bbox' is out of range", where_);
    }
    if (sides[2] < 0 || sides[3] < 0) throw Error("'bbox' has a negative size", where_);
    return {sides[0], sides[1], sides[0] + sides[2], sides[1] + sides[3]};
  }

 private:
  const json& get(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end()) throw Error(std::string("'") + key + "' is missing", where_);
    return *found;
  }

  const json& value_;
  std::string where_;
};

/// Calls `visit` with every element of the list `key`.
template <class Visit>
void each(const json& root, const char* key, const std::string& file, const Visit& visit) {
  const auto list = root.find(key);
  if (list == root.end() || !list->is_array()) {
    throw Error(std::string("has no list '") + key + "'", file,
                "a COCO instances file with images, annotations and categories");
  }
  for (size_t i = 0; i < list->size(); ++i) {
    visit(Element((*list)[i], file + ", " + key + "[" + std::to_string(i) + "]"));
  }
}

/// The folder of pictures: as given, or the first of the usual places that holds the first picture.
fs::path find_images(const fs::path& file, const DatasetOptions& options, const json& root) {
  if (!options.images.empty()) {
    if (!fs::is_directory(options.images)) {
      throw Error("is not a folder", options.images.string(), "--images with the picture folder");
    }
    return options.images;
  }
  std::string first;
  each(root, "images", file.string(), [&](const Element& image) {
    if (first.empty()) first = image.text("file_name");
  });
  const fs::path folder = file.parent_path();
  const std::string stem = file.stem().string();
  const std::string split = stem.substr(stem.find_last_of('_') + 1);  // instances_val2017
  const fs::path above = folder / "..";
  for (const fs::path& candidate : {folder, folder / "images", folder / split, above / split,
                                    above / "images", above / "images" / split}) {
    if (!first.empty() && fs::is_regular_file(confined(candidate, first, file.string()))) {
      return candidate;
    }
  }
  throw Error("cannot find the pictures that the file names", file.string(),
              "--images with their folder");
}

/// Category identifiers have gaps (COCO: 80 categories numbered 1 to 90): class indices follow the
/// order of the identifiers, or the given names.
std::map<int64_t, int64_t> read_categories(const json& root, const std::string& file,
                                           const DatasetOptions& options, Dataset& dataset) {
  std::map<int64_t, std::string> names;
  each(root, "categories", file, [&](const Element& category) {
    if (!names.emplace(category.integer("id"), category.text("name")).second) {
      throw Error("category id used twice", category.where());
    }
  });
  ClassTable table(options.classes);
  std::map<int64_t, int64_t> index;
  for (const auto& [id, name] : names) {
    index[id] =
        options.classes.empty() ? static_cast<int64_t>(index.size()) : table.index(name, file);
    if (options.classes.empty()) dataset.classes.push_back(name);
  }
  if (!options.classes.empty()) dataset.classes = table.names();
  return index;
}

}  // namespace

Dataset read_coco(const fs::path& file, const DatasetOptions& options) {
  const std::string name = file.string();
  const json root = json::parse(read_text_file(file), nullptr, false);
  if (!root.is_object()) throw Error("is not a JSON object", name, "a COCO instances file");
  Dataset dataset;
  dataset.kind = DatasetKind::coco;
  dataset.root = find_images(file, options, root);
  const std::map<int64_t, int64_t> class_of = read_categories(root, name, options, dataset);

  std::map<int64_t, size_t> sample_of;
  each(root, "images", name, [&](const Element& image) {
    if (!sample_of.emplace(image.integer("id"), dataset.samples.size()).second) {
      throw Error("image id used twice", image.where());
    }
    Sample& sample = dataset.samples.emplace_back();
    sample.name = image.text("file_name");
    sample.path = confined(dataset.root, sample.name, image.where());
    sample.has_boxes = true;
  });
  each(root, "annotations", name, [&](const Element& annotation) {
    const auto sample = sample_of.find(annotation.integer("image_id"));
    if (sample == sample_of.end()) throw Error("names an unknown image", annotation.where());
    const auto category = class_of.find(annotation.integer("category_id"));
    if (category == class_of.end()) throw Error("names an unknown category", annotation.where());
    ObjectLabel object;
    object.box = annotation.box();
    object.class_index = category->second;
    object.area = annotation.has("area") ? annotation.number("area") : object.box.area();
    object.crowd = annotation.has("iscrowd") && annotation.integer("iscrowd") != 0;
    dataset.samples[sample->second].objects.push_back(object);
  });
  return dataset;
}

}  // namespace ounce::tasks
