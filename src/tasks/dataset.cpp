#include "tasks/dataset.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "graph/error.h"
#include "tasks/dataset_readers.h"
#include "tasks/read_file.h"

namespace ounce::tasks {
namespace {

namespace fs = std::filesystem;

/// SplitMix64: the standard library's shuffles differ between implementations.
uint64_t next_random(uint64_t& state) {
  state += 0x9e3779b97f4a7c15ULL;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

void shuffle(std::vector<Sample>& samples, uint64_t seed) {
  for (size_t i = samples.size(); i > 1; --i) {
    std::swap(samples[i - 1], samples[next_random(seed) % i]);
  }
}

/// `limit` of the samples: the first ones after a shuffle, else evenly spaced ones.
void reduce(std::vector<Sample>& samples, int64_t limit, bool shuffled) {
  const auto count = static_cast<int64_t>(samples.size());
  if (limit <= 0 || limit >= count) return;
  std::vector<Sample> kept;
  for (int64_t i = 0; i < limit; ++i) {
    const int64_t source = shuffled ? i : i * count / limit;
    kept.push_back(std::move(samples[static_cast<size_t>(source)]));
  }
  samples = std::move(kept);
}

Dataset read_folder(const fs::path& folder, const DatasetOptions& options) {
  if (fs::is_directory(folder / "Annotations") && fs::is_directory(folder / "JPEGImages")) {
    return read_voc(folder, {}, options);
  }
  if (!pictures_in(folder).empty()) return read_pictures(folder);
  return read_class_folders(folder, options);
}

Dataset read_json(const fs::path& file, const DatasetOptions& options) {
  const auto root = nlohmann::json::parse(read_text_file(file), nullptr, false);
  if (!root.is_object()) {
    throw Error("is not a JSON object", file.string(), "a COCO instances file");
  }
  return root.contains("data_list") ? read_text_regions(file, root, options)
                                    : read_coco(file, root, options);
}

Dataset read_any(const fs::path& path, const DatasetOptions& options) {
  if (fs::is_directory(path)) return read_folder(path, options);
  const std::string extension = path.extension().string();
  if (extension == ".json") return read_json(path, options);
  if (extension == ".xz" || extension == ".gz" || extension == ".tar" || extension == ".zip") {
    throw Error("archives are not read", path.string(), "unpacking it and naming the folder");
  }
  const fs::path sets = fs::absolute(path).parent_path().parent_path();
  if (sets.filename() == "ImageSets" && fs::is_directory(sets.parent_path() / "Annotations")) {
    return read_voc(sets.parent_path(), path, options);
  }
  return read_list(path, options);
}

class Fnv1a {
 public:
  void add(const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < size; ++i) hash_ = (hash_ ^ bytes[i]) * 0x100000001b3ULL;
  }
  void add(const std::string& text) {
    add(static_cast<int64_t>(text.size()));
    add(text.data(), text.size());
  }
  void add(int64_t number) {
    // Byte by byte, so that the hash does not depend on the machine's byte order.
    for (int shift = 0; shift < 64; shift += 8) {
      const auto byte = static_cast<uint8_t>(static_cast<uint64_t>(number) >> shift);
      add(&byte, 1);
    }
  }
  void add_file(const fs::path& path) {
    try {
      const std::vector<uint8_t> bytes = read_file(path);
      add(static_cast<int64_t>(bytes.size()));
      add(bytes.data(), bytes.size());
    } catch (const Error&) {
      add(int64_t{-1});
    }
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325ULL;
};

}  // namespace

std::string_view to_string(DatasetKind kind) {
  constexpr std::array<std::string_view, 6> kNames = {"class folders", "list",         "coco",
                                                      "voc",           "text regions", "pictures"};
  return kNames[static_cast<size_t>(kind)];
}

Dataset open_dataset(const fs::path& path, const DatasetOptions& options) {
  if (options.limit < 0) throw Error("the limit must not be negative", path.string());
  try {
    if (!fs::exists(path)) {
      throw Error("no such file or folder", path.string(), "the path of a data set");
    }
    Dataset dataset = read_any(path, options);
    if (dataset.samples.empty()) {
      throw Error("the data set holds no pictures", path.string(),
                  "a folder of pictures, of class folders, a list, a COCO JSON or a VOC folder");
    }
    std::sort(dataset.samples.begin(), dataset.samples.end(),
              [](const Sample& a, const Sample& b) { return a.name < b.name; });
    if (options.shuffle_seed) shuffle(dataset.samples, *options.shuffle_seed);
    reduce(dataset.samples, options.limit, options.shuffle_seed.has_value());
    if (!options.low_resolution.empty()) pair_low_resolution(dataset, options.low_resolution);
    return dataset;
  } catch (const fs::filesystem_error& failure) {
    throw Error(failure.code().message(), path.string(), "checking names and rights");
  }
}

std::optional<DatasetStream::Item> DatasetStream::next() {
  while (position_ < dataset_->size()) {
    const Sample& sample = dataset_->samples[static_cast<size_t>(position_++)];
    try {
      return Item{&sample, read_image(sample.path)};
    } catch (const Error& failure) {
      skipped_.push_back({sample.path.string(), failure.message()});
    }
  }
  if (!skipped_.empty() && static_cast<int64_t>(skipped_.size()) == dataset_->size()) {
    throw Error("not one of the " + std::to_string(skipped_.size()) +
                    " pictures can be read: " + skipped_.front().reason,
                skipped_.front().path, "another data set");
  }
  return std::nullopt;
}

std::string data_hash(const Dataset& dataset) {
  Fnv1a hash;
  for (const Sample& sample : dataset.samples) {
    hash.add(sample.name);
    hash.add(sample.class_index);
    for (const ObjectLabel& object : sample.objects) {
      hash.add(object.class_index);
      for (const double side :
           {object.box.left, object.box.top, object.box.right, object.box.bottom}) {
        // Hundredths of a pixel: COCO writes two decimals.
        hash.add(static_cast<int64_t>(std::clamp(side, -1e12, 1e12) * 100));
      }
    }
    for (const TextLabel& region : sample.regions) {
      hash.add(int64_t{region.ignored});
      for (const Point& corner : region.outline) {
        for (const double side : {corner.x, corner.y}) {
          hash.add(static_cast<int64_t>(std::clamp(side, -1e12, 1e12) * 100));
        }
      }
    }
    hash.add_file(sample.path);
    if (!sample.low_resolution.empty()) hash.add_file(sample.low_resolution);
  }
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "fnv1a64:";
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[hash.value() >> shift & 15];
  return text;
}

std::vector<std::string> read_class_names(const fs::path& path) {
  std::vector<std::string> names = split_lines(read_text_file(path));
  if (names.empty()) throw Error("holds no class names", path.string(), "one name a line");
  return names;
}

}  // namespace ounce::tasks
