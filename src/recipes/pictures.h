#pragma once

#include <filesystem>
#include <functional>

#include "tasks/preprocess.h"
#include "train/image_set.h"

namespace ounce::recipes {

/// Told how many pictures of how many have been decoded; may throw to stop.
using DecodeProgress = std::function<void(int64_t done, int64_t total)>;

/// Pictures as squares of `size` pixels: the short side scaled, the centre cut.
tasks::Preprocessing preprocessing_of(int64_t size, const train::Normalization& normalization);

/// The labelled pictures at `path` (what `tasks::open_dataset` opens, or a `.safetensors` file),
/// as `preprocessing_of` shapes them. `limit` pictures at most (0:
/// all). Throws `Error` when there are no class labels, or a picture cannot be read.
train::ImageSet read_pictures(const std::filesystem::path& path, int64_t size, int64_t limit,
                              const DecodeProgress& progress = nullptr);

/// How many pictures `read_pictures` would read.
int64_t count_pictures(const std::filesystem::path& path, int64_t limit);

}  // namespace ounce::recipes
