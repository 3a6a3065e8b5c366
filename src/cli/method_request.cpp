#include "cli/method_request.h"

namespace ounce::cli {

void add_typed(methods::Request& request, const std::string& method,
               const std::vector<std::string>& method_options,
               const std::vector<std::string>& overrides) {
  for (const std::string& text : method_options) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) {
      throw Error("not NAME=VALUE", "--option " + text, "ounce methods " + method);
    }
    request.options[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const std::string& text : overrides) {
    request.overrides.push_back(quantize::parse_override(text));
  }
}

}  // namespace ounce::cli
