#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quantize/options.h"

namespace ounce::quantize::search {

inline constexpr int kFloatBits = 32;

/// What a layer may be set to: bits of its weights and of what it reads, or float.
struct Setting {
  int weight_bits = kFloatBits;
  int activation_bits = kFloatBits;

  bool is_float() const { return weight_bits == kFloatBits; }
  /// Whether it has all of the other's bits and maybe more: it then loses no more, as far as
  /// rounding goes.
  bool covers(const Setting& other) const {
    return weight_bits >= other.weight_bits && activation_bits >= other.activation_bits;
  }
  auto operator<=>(const Setting&) const = default;  // NOLINT(modernize-use-nullptr): its own 0
};

/// "float", "W4A8"
std::string name_of(const Setting& setting);
/// The other way round; nullopt for any other text.
std::optional<Setting> setting_from_name(std::string_view name);

/// A layer with its setting.
struct LayerSetting {
  std::string layer;         // name of the node
  bool has_weights = false;  // false: product of two activations
  Setting setting;
};

/// `base` with the settings of single layers as overrides behind its own. Activations of 8 bits are
/// not named: where no layer has fewer, the graph is prepared as for 8 bits throughout.
Options with_settings(const Options& base, std::vector<LayerSetting> layers);

}  // namespace ounce::quantize::search
