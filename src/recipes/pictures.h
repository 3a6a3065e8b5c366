#pragma once

#include <filesystem>
#include <functional>

#include "train/image_set.h"

namespace ounce::recipes {

/// Told how many pictures of how many have been decoded; may throw to stop.
using DecodeProgress = std::function<void(int64_t done, int64_t total)>;

/// The labelled pictures at `path` (what `tasks::open_dataset` opens, or a `.safetensors` file),
/// scaled so that the short side fits `size` and cut to its centre. `limit` pictures at most (0:
/// all). Throws `Error` when there are no class labels, or a picture cannot be read.
train::ImageSet read_pictures(const std::filesystem::path& path, int64_t size, int64_t limit,
                              const DecodeProgress& progress = nullptr);

/// How many pictures `read_pictures` would read.
int64_t count_pictures(const std::filesystem::path& path, int64_t limit);

}  // namespace ounce::recipes
