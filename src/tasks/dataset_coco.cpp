#include <map>

#include "tasks/dataset_json.h"
#include "tasks/dataset_readers.h"

namespace ounce::tasks {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kRemedy = "a COCO instances file with images, annotations and categories";

/// The folder of pictures: as given, or the first of the usual places that holds the first picture.
fs::path find_images(const fs::path& file, const DatasetOptions& options, const json& root) {
  if (!options.images.empty()) {
    if (!fs::is_directory(options.images)) {
      throw Error("is not a folder", options.images.string(), "--images with the picture folder");
    }
    return options.images;
  }
  std::string first;
  each(root, "images", file.string(), kRemedy, [&](const Element& image) {
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
  each(root, "categories", file, kRemedy, [&](const Element& category) {
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

Dataset read_coco(const fs::path& file, const json& root, const DatasetOptions& options) {
  const std::string name = file.string();
  Dataset dataset;
  dataset.kind = DatasetKind::coco;
  dataset.root = find_images(file, options, root);
  const std::map<int64_t, int64_t> class_of = read_categories(root, name, options, dataset);

  std::map<int64_t, size_t> sample_of;
  each(root, "images", name, kRemedy, [&](const Element& image) {
    if (!sample_of.emplace(image.integer("id"), dataset.samples.size()).second) {
      throw Error("image id used twice", image.where());
    }
    Sample& sample = dataset.samples.emplace_back();
    sample.name = image.text("file_name");
    sample.path = confined(dataset.root, sample.name, image.where());
    sample.has_boxes = true;
  });
  each(root, "annotations", name, kRemedy, [&](const Element& annotation) {
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
