#include "recipes/pictures.h"

#include <algorithm>
#include <cstring>

#include "graph/error.h"
#include "tasks/dataset.h"
#include "tasks/image.h"

namespace ounce::recipes {
namespace {

bool is_decoded(const std::filesystem::path& path) {
  return path.extension() == ".safetensors";
}

tasks::Dataset open(const std::filesystem::path& path, int64_t limit) {
  tasks::DatasetOptions options;
  options.limit = limit;
  tasks::Dataset dataset = tasks::open_dataset(path, options);
  if (!dataset.has_classes()) {
    throw Error("has no class labels", path.string(), "a folder with one folder a class");
  }
  return dataset;
}

}  // namespace

tasks::Preprocessing preprocessing_of(int64_t size, const train::Normalization& normalization) {
  tasks::Preprocessing preprocessing;
  preprocessing.resize_short = size;
  preprocessing.crop = {size, size};
  for (size_t i = 0; i < 3; ++i) {
    preprocessing.mean[i] = normalization.mean.at(i);
    preprocessing.std[i] = normalization.deviation.at(i);
  }
  return preprocessing;
}

int64_t count_pictures(const std::filesystem::path& path, int64_t limit) {
  if (!is_decoded(path)) return open(path, limit).size();
  const int64_t all = train::read_image_set(path).size();
  return limit > 0 ? std::min(limit, all) : all;
}

train::ImageSet read_pictures(const std::filesystem::path& path, int64_t size, int64_t limit,
                              const DecodeProgress& progress) {
  if (is_decoded(path)) {
    train::ImageSet set = train::read_image_set(path);
    if (set.images.size(2) != size || set.images.size(3) != size) {
      throw Error("holds pictures of another size than " + std::to_string(size), path.string());
    }
    return limit > 0 && limit < set.size() ? set.slice(0, limit) : set;
  }
  const tasks::Dataset dataset = open(path, limit);
  const tasks::Preprocessing shape = preprocessing_of(size, {});
  train::ImageSet set;
  set.classes = dataset.classes;
  set.images = at::empty({dataset.size(), size, size, 3}, at::kByte);
  set.labels = at::empty({dataset.size()}, at::kLong);
  auto* pixels = set.images.data_ptr<uint8_t>();
  auto* labels = set.labels.data_ptr<int64_t>();
  for (size_t i = 0; i < dataset.samples.size(); ++i) {
    const tasks::Sample& sample = dataset.samples[i];
    const tasks::Image square = tasks::fit(shape, tasks::read_image(sample.path)).image;
    std::memcpy(pixels + i * square.pixels.size(), square.pixels.data(), square.pixels.size());
    labels[i] = sample.class_index;
    if (progress) progress(static_cast<int64_t>(i) + 1, dataset.size());
  }
  set.images = set.images.permute({0, 3, 1, 2}).contiguous();
  return set;
}

}  // namespace ounce::recipes
