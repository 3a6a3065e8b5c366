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
  for (bool more = true; more;) {
    const size_t end = name.find('+');
    const std::string_view part = name.substr(0, end);
    more = end != std::string_view::npos;
    if (more) name.remove_prefix(end + 1);
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
  return goals;
}

}  // namespace ounce::methods
