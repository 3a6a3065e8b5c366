#pragma once

#include "settings/settings.h"
#include "tasks/preprocess.h"

namespace ounce::tasks {

/// The keys of a preprocessing, the same in JSON metadata and in a model's TOML; `base` fills in
/// what is not given. Does not call `finish`.
Preprocessing read_preprocessing(Settings& settings, Preprocessing base);

}  // namespace ounce::tasks
