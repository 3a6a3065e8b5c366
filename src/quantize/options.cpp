#include "quantize/options.h"

#include <charconv>
#include <optional>

#include "graph/error.h"

namespace ounce::quantize {
namespace {

constexpr std::string_view kKeys =
    "weights=2..8|float, activations=2..8|float, range=minmax|percentile|mse|symmetric-mse|kl|uh, "
    "percentile=NUMBER, weight-range=minmax|mse, granularity=tensor|channel|group:N";

[[noreturn]] void refuse(const Override& setting) {
  throw Error("cannot set " + setting.key + " to '" + setting.value + "'",
              "override '" + setting.pattern + "'", std::string(kKeys));
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

int parse_bits(const Override& setting) {
  const auto bits = parse_number<int>(setting.value);
  if (!bits || *bits < kMinBits || *bits > kMaxBits) refuse(setting);
  return *bits;
}

void apply(LayerSettings& layer, const Override& setting) {
  const std::string& value = setting.value;
  if (setting.key == "weights") {
    layer.float_weights = value == "float";
    if (!layer.float_weights) layer.weights.bits = parse_bits(setting);
  } else if (setting.key == "activations") {
    layer.float_activations = value == "float";
    if (!layer.float_activations) layer.activation_bits = parse_bits(setting);
  } else if (setting.key == "range") {
    const auto rule = range_rule_from_name(value);
    if (!rule) refuse(setting);
    layer.range = *rule;
  } else if (setting.key == "percentile") {
    const auto percentile = parse_number<double>(value);
    if (!percentile || !(*percentile > 50.0 && *percentile <= 100.0)) refuse(setting);
    layer.percentile = *percentile;
  } else if (setting.key == "weight-range") {
    const auto rule = weight_rule_from_name(value);
    if (!rule) refuse(setting);
    layer.weights.rule = *rule;
  } else if (setting.key == "granularity") {
    set_granularity(layer.weights, value);
  } else {
    refuse(setting);
  }
}

}  // namespace

void set_granularity(WeightOptions& weights, std::string_view text) {
  constexpr std::string_view kGroupPrefix = "group:";
  if (text == "tensor") {
    weights.granularity = Granularity::kTensor;
  } else if (text == "channel") {
    weights.granularity = Granularity::kChannel;
  } else {
    const bool group = text.starts_with(kGroupPrefix);
    const auto size =
        group ? parse_number<int64_t>(text.substr(kGroupPrefix.size())) : std::nullopt;
    if (!size || *size < 1) {
      throw Error("'" + std::string(text) + "' is no granularity", {},
                  "tensor, channel or group:N");
    }
    weights.granularity = Granularity::kGroup;
    weights.group_size = *size;
  }
}

Override parse_override(std::string_view text) {
  // Node names may hold colons and slashes: the last colon before the '=' ends the pattern.
  const size_t equals = text.rfind('=');
  size_t colon = equals == std::string_view::npos ? equals : text.rfind(':', equals);
  if (colon == std::string_view::npos || colon == 0) {
    throw Error("'" + std::string(text) + "' is not PATTERN:KEY=VALUE", "override",
                std::string(kKeys));
  }
  Override setting;
  setting.pattern = text.substr(0, colon);
  setting.key = text.substr(colon + 1, equals - colon - 1);
  setting.value = text.substr(equals + 1);
  LayerSettings scratch;
  apply(scratch, setting);
  return setting;
}

bool matches(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t]) && pattern[p] != '*') {
      ++p;
      ++t;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

LayerSettings settings_for(const Options& options, const Node& node) {
  LayerSettings layer = options.layer;
  for (const Override& setting : options.overrides) {
    if (matches(setting.pattern, node.name) || matches(setting.pattern, node.scope)) {
      apply(layer, setting);
    }
  }
  return layer;
}

}  // namespace ounce::quantize
