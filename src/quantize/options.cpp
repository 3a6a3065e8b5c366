#include "quantize/options.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>

#include "graph/error.h"

namespace ounce::quantize {
namespace {

constexpr std::string_view kKeys =
    "weights=1..8|ternary|float, activations=1..8|ternary|float, dynamic=off|tensor|token, "
    "range=minmax|percentile|mse|symmetric-mse|kl|uh, "
    "percentile=NUMBER, weight-range=minmax|mse, granularity=tensor|channel|group:N";

[[noreturn]] void refuse(const Override& setting) {
  throw Error("cannot set " + setting.key + " to '" + setting.value + "'",
              "override '" + setting.pattern + "'", std::string(kKeys));
}

// Names of values in the order of their enumerations.
constexpr std::string_view kActivationGrids[] = {"off", "tensor", "token"};
constexpr std::string_view kNormTransforms[] = {"none", "repq", "smooth"};
constexpr std::string_view kRotations[] = {"none", "hadamard"};
constexpr std::string_view kRoundings[] = {"nearest", "gptq",  "adaround",
                                           "brecq",   "qdrop", "straight-through"};
constexpr std::string_view kTuningStarts[] = {"nearest", "gptq"};
constexpr std::string_view kErrorWeighings[] = {"plain", "fisher"};
constexpr std::string_view kSoftmaxCodes[] = {"uniform", "log2", "log-sqrt2"};

template <class Enumeration>
std::optional<Enumeration> value_named(std::span<const std::string_view> names,
                                       std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enumeration>(found - names.begin());
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

void apply(LayerSettings& layer, const Override& setting) {
  const std::string& value = setting.value;
  if (setting.key == "weights") {
    layer.float_weights = is_float_word(value);
    if (!layer.float_weights && !set_weight_bits(layer.weights, value)) refuse(setting);
  } else if (setting.key == "activations") {
    layer.float_activations = is_float_word(value);
    if (!layer.float_activations && !set_activation_bits(layer, value)) refuse(setting);
  } else if (setting.key == "dynamic") {
    const auto grid = activation_grid_from_name(value);
    if (!grid) refuse(setting);
    layer.activation_grid = *grid;
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

bool names(const Override& setting, const Node& node) {
  return matches(setting.pattern, node.name) || matches(setting.pattern, node.scope);
}

}  // namespace

std::optional<ActivationGrid> activation_grid_from_name(std::string_view name) {
  return value_named<ActivationGrid>(kActivationGrids, name);
}
std::string_view name_of(ActivationGrid grid) {
  return kActivationGrids[static_cast<size_t>(grid)];
}

std::optional<NormTransform> norm_transform_from_name(std::string_view name) {
  return value_named<NormTransform>(kNormTransforms, name);
}
std::string_view name_of(NormTransform transform) {
  return kNormTransforms[static_cast<size_t>(transform)];
}

std::optional<Rotation> rotation_from_name(std::string_view name) {
  return value_named<Rotation>(kRotations, name);
}
std::string_view name_of(Rotation rotation) {
  return kRotations[static_cast<size_t>(rotation)];
}

std::optional<Rounding> rounding_from_name(std::string_view name) {
  return value_named<Rounding>(kRoundings, name);
}
std::string_view name_of(Rounding rounding) {
  return kRoundings[static_cast<size_t>(rounding)];
}

std::optional<TuningStart> tuning_start_from_name(std::string_view name) {
  return value_named<TuningStart>(kTuningStarts, name);
}

std::optional<ErrorWeighing> error_weighing_from_name(std::string_view name) {
  return value_named<ErrorWeighing>(kErrorWeighings, name);
}

std::optional<SoftmaxCodes> softmax_codes_from_name(std::string_view name) {
  return value_named<SoftmaxCodes>(kSoftmaxCodes, name);
}
std::string_view name_of(SoftmaxCodes codes) {
  return kSoftmaxCodes[static_cast<size_t>(codes)];
}

bool is_learned(Rounding rounding) {
  return rounding != Rounding::kNearest && rounding != Rounding::kGptq;
}

bool is_float_word(std::string_view text) {
  return text == "f32" || text == "float";
}

bool set_activation_bits(LayerSettings& layer, std::string_view text) {
  WeightOptions bits;  // the same words
  if (!set_weight_bits(bits, text)) return false;
  layer.activation_bits = bits.bits;
  layer.ternary_activations = bits.ternary;
  return true;
}

void check_settings(const LayerSettings& layer, const std::string& where) {
  if (layer.float_activations || !layer.ternary_activations ||
      layer.activation_grid == ActivationGrid::kCalibrated) {
    return;
  }
  throw Error("ternary activations have calibrated grids, none that are made while the model runs",
              where, "2 to 8 bits, or no dynamic grids");
}

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
    if (names(setting, node)) apply(layer, setting);
  }
  if (options.search_few_bits && layer.weights.bits < kFewestPlainBits &&
      !is_overridden(options, node, "weight-range")) {
    layer.weights.rule = WeightRule::kMse;
  }
  check_settings(layer, node.name);
  return layer;
}

bool is_overridden(const Options& options, const Node& node, std::string_view key) {
  return std::any_of(
      options.overrides.begin(), options.overrides.end(),
      [&](const Override& setting) { return setting.key == key && names(setting, node); });
}

}  // namespace ounce::quantize
