#include "tasks/dataset_json.h"
#include "tasks/dataset_readers.h"

namespace ounce::tasks {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kRemedy =
    "text regions as MMOCR has them: data_list with img_path and instances with polygon";

/// [x, y, x, y, ...]
Polygon outline_of(const json& instance, const std::string& where) {
  const auto list = instance.find("polygon");
  const bool is_outline =
      list != instance.end() && list->is_array() && list->size() >= 6 && list->size() % 2 == 0;
  if (!is_outline) throw Error("'polygon' is not three corners or more", where, kRemedy);
  std::vector<double> sides;
  for (const json& side : *list) {
    if (!side.is_number() || !(std::abs(side.get<double>()) < 1e9)) {
      throw Error("'polygon' holds something else than numbers of pixels", where, kRemedy);
    }
    sides.push_back(side.get<double>());
  }
  Polygon outline;
  for (size_t i = 0; i < sides.size(); i += 2) outline.push_back({sides[i], sides[i + 1]});
  return outline;
}

TextLabel region_of(const Element& instance) {
  const json& value = instance.value();
  const auto ignored = value.find("ignore");
  return {outline_of(value, instance.where()),
          ignored != value.end() && ignored->is_boolean() && ignored->get<bool>()};
}

}  // namespace

Dataset read_text_regions(const fs::path& file, const json& root, const DatasetOptions& options) {
  Dataset dataset;
  dataset.kind = DatasetKind::text_regions;
  dataset.classes = {"text"};
  dataset.root = options.images.empty() ? file.parent_path() : options.images;
  each(root, "data_list", file.string(), kRemedy, [&](const Element& picture) {
    Sample& sample = dataset.samples.emplace_back();
    sample.name = picture.text("img_path");
    sample.path = confined(dataset.root, sample.name, picture.where());
    each(picture.value(), "instances", picture.where(), kRemedy,
         [&](const Element& instance) { sample.regions.push_back(region_of(instance)); });
  });
  return dataset;
}

}  // namespace ounce::tasks
