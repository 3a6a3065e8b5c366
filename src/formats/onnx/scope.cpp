#include "formats/onnx/scope.h"

namespace ounce::formats {

std::string scope_of(std::string_view node_name) {
  std::string scope;
  std::string_view previous;
  size_t start = 0;
  while (true) {
    const size_t slash = node_name.find('/', start);
    if (slash == std::string_view::npos) return scope;  // the last part names the node itself
    const std::string_view part = node_name.substr(start, slash - start);
    start = slash + 1;
    if (part.empty()) continue;
    // A container repeats its name in its members: "layer1/layer1.0".
    const bool repeats = !previous.empty() && part.size() > previous.size() &&
                         part.starts_with(previous) && part[previous.size()] == '.';
    if (repeats) {
      scope.resize(scope.size() - previous.size());
    } else if (!scope.empty()) {
      scope += '.';
    }
    scope += part;
    previous = part;
  }
}

}  // namespace ounce::formats
