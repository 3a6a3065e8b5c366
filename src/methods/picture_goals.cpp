#include "methods/picture_goals.h"

#include <algorithm>

namespace ounce::methods {

std::optional<PictureGoals> picture_goals_from_name(std::string_view name) {
  PictureGoals goals;
  if (name == "one-hot") return goals;
  if (name == "noise") {
    goals.noise = true;
    return goals;
  }
  if (name == "psaq") {
    goals.different_patches = true;
    return goals;
  }
  if (name == "batch-norm") {
    goals.norm_statistics = true;
    return goals;
  }
  if (name == "sardfq") name = "apa+msr+sl";
  while (!name.empty()) {
    const size_t end = std::min(name.find('+'), name.size());
    const std::string_view part = name.substr(0, end);
    name.remove_prefix(std::min(name.size(), end + 1));
    if (part == "apa") {
      goals.attention_priors = true;
    } else if (part == "msr") {
      goals.regions = true;
    } else if (part == "sl") {
      goals.soft_labels = true;
    } else {
      return std::nullopt;
    }
  }
  return goals == PictureGoals{} ? std::nullopt : std::optional(goals);
}

}  // namespace ounce::methods
