#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/box.h"
#include "tasks/image.h"
#include "tasks/polygon.h"

namespace ounce::tasks {

/// A labelled object of a detection data set.
struct ObjectLabel {
  Box box;                  // picture pixels
  int64_t class_index = 0;  // into Dataset::classes
  double area = 0;          // of the object where known (COCO: of its mask), else of the box
  bool crowd = false;       // covers many objects: finding it any number of times is no mistake
  bool difficult = false;   // finding it or not is neither right nor wrong
};

/// Where text stands.
struct TextLabel {
  Polygon outline;       // picture pixels
  bool ignored = false;  // unreadable: finding it or not is neither right nor wrong
};

/// One picture and what is known about it.
struct Sample {
  std::filesystem::path path;
  std::string name;          // relative to the data set, for reports and the data hash
  int64_t class_index = -1;  // -1: no class label
  bool has_boxes = false;    // whether `objects` is known (possibly to be none)
  std::vector<ObjectLabel> objects;
  std::vector<TextLabel> regions;
  std::filesystem::path low_resolution;  // the same picture made small; empty: there is none
};

enum class DatasetKind { class_folders, list, coco, voc, text_regions, pictures };
std::string_view to_string(DatasetKind kind);

/// What to read and how much of it.
struct DatasetOptions {
  /// Folder of the pictures of a COCO file; empty: found beside the file.
  std::filesystem::path images = {};
  /// Folder of the same pictures made small, for super-resolution: "bird.png" or "birdx4.png" goes
  /// with "bird.jpg". Throws when one is missing.
  std::filesystem::path low_resolution = {};
  /// At most so many pictures (0: all). Unshuffled, they are spread evenly over the order, so that
  /// a folder of classes gives some of each class.
  int64_t limit = 0;
  /// Shuffle the order, the same on every machine for a seed.
  std::optional<uint64_t> shuffle_seed = {};
  /// Class order to use for class folders, VOC names and COCO names instead of the data set's own.
  /// Throws when the data set has a class that is not listed.
  std::vector<std::string> classes = {};
};

/// The index of a data set: paths and labels, not pixels. Order is deterministic (by name) unless
/// shuffled.
struct Dataset {
  DatasetKind kind = DatasetKind::pictures;
  std::filesystem::path root;
  std::vector<std::string> classes;
  std::vector<Sample> samples;

  int64_t size() const { return static_cast<int64_t>(samples.size()); }
  bool has_classes() const {
    return kind == DatasetKind::class_folders || kind == DatasetKind::list;
  }
  bool has_regions() const { return kind == DatasetKind::text_regions; }
  bool has_boxes() const { return kind == DatasetKind::coco || kind == DatasetKind::voc; }
};

/// Opens, by what stands at `path`: a folder of class folders, a text list of `path label` lines, a
/// COCO JSON, MMOCR's JSON of text regions, a VOC folder (or one of its lists under
/// ImageSets/Main), or a plain folder of pictures. Nothing is decoded yet. Throws `Error` naming
/// what is missing; an empty data set is an error.
Dataset open_dataset(const std::filesystem::path& path, const DatasetOptions& options = {});

/// A picture left out because it cannot be read.
struct SkippedSample {
  std::string path;
  std::string reason;
};

/// Reads the pictures of a data set one by one; one that cannot be read is remembered and passed
/// over. Several streams may read one data set, which must outlive them.
class DatasetStream {
 public:
  explicit DatasetStream(const Dataset& dataset) : dataset_(&dataset) {}

  struct Item {
    const Sample* sample = nullptr;
    Image image;
  };

  /// The next readable picture; nullopt at the end. Throws `Error` at the end when not one picture
  /// was readable.
  std::optional<Item> next();

  /// Pictures gone by, skipped ones included: position() of dataset().size() for progress.
  int64_t position() const { return position_; }
  const Dataset& dataset() const { return *dataset_; }
  const std::vector<SkippedSample>& skipped() const { return skipped_; }

 private:
  const Dataset* dataset_;
  int64_t position_ = 0;
  std::vector<SkippedSample> skipped_;
};

/// "fnv1a64:..." over names, labels, sizes and bytes of the pictures in order; an unreadable
/// picture counts by its name. For the manifest of a run.
std::string data_hash(const Dataset& dataset);

/// One class name a line; throws `Error` when the file holds none.
std::vector<std::string> read_class_names(const std::filesystem::path& path);

}  // namespace ounce::tasks
