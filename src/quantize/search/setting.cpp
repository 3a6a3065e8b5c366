#include "quantize/search/setting.h"

#include <algorithm>

#include "quantize/affine.h"

namespace ounce::quantize::search {

std::string name_of(const Setting& setting) {
  if (setting.is_float()) return "float";
  return "W" + std::to_string(setting.weight_bits) + "A" + std::to_string(setting.activation_bits);
}

std::optional<Setting> setting_from_name(std::string_view name) {
  if (name == "float") return Setting();
  const size_t middle = name.find('A');
  if (!name.starts_with('W') || middle == std::string_view::npos) return std::nullopt;
  const auto weights = bits_from_text(std::string(name.substr(1, middle - 1)));
  const auto activations = bits_from_text(std::string(name.substr(middle + 1)));
  if (!weights || !activations) return std::nullopt;
  return Setting{*weights, *activations};
}

Options with_settings(const Options& base, std::vector<LayerSetting> layers) {
  // A pattern also names what lies in a scope of that name. Names are longer than those of their
  // scopes, and the last override wins: each layer's own comes after those of its scopes.
  std::stable_sort(layers.begin(), layers.end(), [](const LayerSetting& a, const LayerSetting& b) {
    return a.layer.size() < b.layer.size();
  });
  Options options = base;
  for (const LayerSetting& one : layers) {
    const bool is_float = one.setting.is_float();
    const auto add = [&](const char* key, int bits) {
      options.overrides.push_back({one.layer, key, is_float ? "float" : std::to_string(bits)});
    };
    if (one.has_weights) {
      add("weights", one.setting.weight_bits);
      if (!is_float && one.setting.activation_bits < kMaxBits) {
        add("activations", one.setting.activation_bits);
      }
    } else if (is_float || one.setting.activation_bits < kMaxBits) {
      add("activations", one.setting.activation_bits);
    }
  }
  return options;
}

}  // namespace ounce::quantize::search
