#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ounce::train {

/// Labelled pictures of one size, decoded, in memory.
struct ImageSet {
  at::Tensor images;  // u8 [N, C, H, W]
  at::Tensor labels;  // i64 [N]
  std::vector<std::string> classes;

  int64_t size() const { return images.defined() ? images.size(0) : 0; }
  /// The pictures `first`, `first` + 1, .. of `count`; memory is shared.
  ImageSet slice(int64_t first, int64_t count) const;
  /// At most `count` pictures, spread evenly over the order, which often goes by class.
  ImageSet spread(int64_t count) const;
};

/// Reads tensors "images" and "labels" of a `.safetensors` file, and "classes" (one a line) of its
/// metadata. Throws `Error` naming what is missing or of another type.
ImageSet read_image_set(const std::filesystem::path& path);
void write_image_set(const ImageSet& set, const std::filesystem::path& path);

/// Pixels / 255, minus mean, over deviation, by channel.
struct Normalization {
  std::vector<float> mean = {0.0F, 0.0F, 0.0F};
  std::vector<float> deviation = {1.0F, 1.0F, 1.0F};
};
at::Tensor normalize(const at::Tensor& images, const Normalization& normalization);

/// Another picture for one, u8 [C, H, W], by random numbers that follow from `seed` alone. Several
/// threads call it at once.
using PictureChange = std::function<at::Tensor(const at::Tensor& picture, uint64_t seed)>;

/// What changes pictures of a batch at random, in this order.
struct Augmentation {
  int64_t crop_padding = 0;  // a crop of the same size out of the picture with so many zeros around
  bool flip = false;         // left and right, every second one
  PictureChange change;      // of each picture; may be empty
  double erasing = 0;        // share of pictures with a rectangle of noise (Zhong et al. 2020)
  double mixup = 0;          // alpha of the beta distribution of the share (Zhang et al. 2018)
  double cutmix = 0;         // the same of the area (Yun et al. 2019); every second batch, if both
};

struct Batch {
  at::Tensor inputs;   // f32 [B, C, H, W], normalised
  at::Tensor labels;   // i64 [B]
  at::Tensor targets;  // f32 [B, classes], rows sum to 1; undefined unless pictures were mixed
};

/// Batches of a set in an order that depends on the seed and the epoch alone: batch `step` of epoch
/// `epoch` is the same whenever and wherever it is asked for, so a run resumes exactly.
class BatchSource {
 public:
  struct Options {
    int64_t batch_size = 128;
    uint64_t seed = 1;
    Normalization normalization;
    Augmentation augmentation;
  };

  /// Throws `Error` when the set has fewer pictures than a batch.
  BatchSource(ImageSet set, Options options);

  /// Whole batches only: what is left over comes in another epoch's order.
  int64_t steps_per_epoch() const { return set_.size() / options_.batch_size; }
  /// Share `rank` of `ranks` of the batch: its pictures rank, rank + ranks, ..
  Batch batch(int64_t epoch, int64_t step, int64_t rank = 0, int64_t ranks = 1) const;
  const ImageSet& set() const { return set_; }
  const Options& options() const { return options_; }

 private:
  ImageSet set_;
  Options options_;
};

}  // namespace ounce::train
