#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ounce::cli {

/// "ounce 0.1.0"
std::string version_text();

/// ounce and the libraries that touch results, for manifests.
std::vector<std::pair<std::string, std::string>> library_versions();

}  // namespace ounce::cli
