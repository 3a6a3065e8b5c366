#include "cli/version.h"

namespace ounce::cli {

// The compiler's name belongs to the result: floating point may differ between compilers.
std::string version_text() {
  return "ounce " OUNCE_VERSION;
}

std::vector<std::pair<std::string, std::string>> library_versions() {
  return {{"ounce", OUNCE_VERSION}, {"compiler", __VERSION__}};
}

}  // namespace ounce::cli
