#include "methods/method.h"

#include <algorithm>
#include <charconv>

#include "graph/error.h"
#include "methods/ptq.h"
#include "methods/q_yolo.h"

namespace ounce::methods {
namespace {

[[noreturn]] void refuse(const MethodOption& option, const std::string& value,
                         std::string_view possible) {
  throw Error("'" + value + "' is not a value of option '" + std::string(option.name) + "'", {},
              std::string(possible));
}

/// Throws unless bits are those of weights and activations: a grid's, or one.
void check_bits(const Request& request) {
  if (request.weight_bits != 1) quantize::check_bits(request.weight_bits);
  if (request.activation_bits > 1) quantize::check_bits(request.activation_bits);
}

/// The fewest bits that weights or activations get unless an override says otherwise.
int fewest_bits(const Request& request) {
  return request.activation_bits == 0 ? request.weight_bits
                                      : std::min(request.weight_bits, request.activation_bits);
}

bool flag_or_auto(const Request& request, const MethodOption& option, bool automatic) {
  return option_text(request, option) == "auto" ? automatic : option_flag(request, option);
}

void set_guard(quantize::Options& options, const Request& request, const MethodOption& option) {
  constexpr double kLeastDbPerBit = 3.5;
  const std::string guard = option_text(request, option);
  if (guard == "off") return;
  if (guard != "auto") {
    options.least_db_per_bit = option_number(request, option);
    return;
  }
  if (fewest_bits(request) < quantize::kFewestPlainBits) return;
  options.least_db_per_bit = kLeastDbPerBit;
  options.fewest_guarded_bits = quantize::kFewestPlainBits;
}

}  // namespace

const std::vector<Method>& all_methods() {
  static const std::vector<Method> methods = [] {
    std::vector<Method> list = ptq_methods();
    list.push_back(q_yolo_method());
    std::sort(list.begin(), list.end(),
              [](const Method& a, const Method& b) { return a.name < b.name; });
    return list;
  }();
  return methods;
}

const Method& find_method(std::string_view name) {
  std::string names;
  for (const Method& method : all_methods()) {
    if (method.name == name) return method;
    names += (names.empty() ? "" : ", ") + std::string(method.name);
  }
  throw Error("there is no method '" + std::string(name) + "'", {}, names);
}

quantize::Options configure(const Method& method, const Request& request) {
  check_bits(request);
  for (const auto& given : request.options) {
    const std::string& name = given.first;
    const bool known = std::any_of(method.options.begin(), method.options.end(),
                                   [&](const MethodOption& option) { return option.name == name; });
    if (known) continue;
    std::string names;
    for (const MethodOption& option : method.options) {
      names += (names.empty() ? "" : ", ") + std::string(option.name);
    }
    throw Error("method '" + std::string(method.name) + "' has no option '" + name + "'", {},
                names);
  }
  quantize::Options options = method.configure(request);
  options.softmax = request.softmax;
  options.overrides = request.overrides;
  options.threads = request.threads;
  quantize::check_settings(options.layer, {});
  return options;
}

quantize::QuantizeResult run(const Method& method, const Graph& graph, const Request& request,
                             quantize::InputSource& source, const quantize::Progress& progress,
                             const quantize::Refinement& refine) {
  return quantize::quantize(graph, configure(method, request), source, progress, refine);
}

std::string option_text(const Request& request, const MethodOption& option) {
  const auto found = request.options.find(std::string(option.name));
  return found != request.options.end() ? found->second : std::string(option.fallback);
}

bool option_flag(const Request& request, const MethodOption& option) {
  const std::string value = option_text(request, option);
  if (value == "on") return true;
  if (value == "off") return false;
  refuse(option, value, "on, off");
}

double option_number(const Request& request, const MethodOption& option) {
  const std::string value = option_text(request, option);
  double number = 0.0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size()) refuse(option, value, "a number");
  return number;
}

std::vector<MethodOption> common_options(std::string_view weight_range) {
  return {
      {"weight-range", weight_range,
       "minmax or mse: how the scale of weights is chosen; auto: minmax, below 4 bits mse"},
      {"granularity", "channel", "tensor, channel or group:N: what shares a weight scale"},
      {"bias-correction", "auto",
       "on: the mean error of a layer goes into its bias; auto: on below 8 bits, but where blocks "
       "learn their biases"},
      {"keep-ends8", "auto",
       "on: first and last layers at 8 bits when others have fewer; auto: on below 4 bits"},
      {"embeddings8", "auto",
       "on: large constants that are added or looked up are stored with 8 bits; auto: on below 4 "
       "bits"},
      {"residual", "operands",
       "operands: both operands of an integer addition are codes, as other runtimes need it; "
       "accumulator: the convolution's sum goes in unrounded"},
      {"guard", "auto",
       "off, or dB a bit: pieces with less signal to noise of their own get 8 bits, or grids a "
       "token, or stay float (6 is good); "
       "auto: 3.5 for pieces of 4 bits and more, off when fewer are asked for"},
      {"equalize", "off",
       "on: channels between two layers and a ReLU are scaled so that both layers' weights have "
       "the "
       "same range (cross-layer equalization), where it pays"},
      {"rotation", "none",
       "hadamard: the residual stream and the attention heads of a transformer are multiplied by "
       "orthogonal matrices that spread outliers over all channels (QuaRot), where it pays"},
      {"norms", "none",
       "repq: all channels behind a normalization get the range of their mean (RepQ-ViT); smooth: "
       "magnitudes of activations and weights are made alike (SmoothQuant); each where it pays"},
      {"smooth-alpha", "0.5", "0 to 1: share of the work that weights take over with norms=smooth"},
      {"rounding", "nearest",
       "nearest; gptq: what rounding a weight costs is made up for by the weights of later inputs; "
       "adaround, brecq, qdrop: learned by layers, by blocks, by blocks with noise; "
       "straight-through: the weights themselves are learned, by blocks"},
      {"tuning-steps", "auto",
       "of each block, where rounding is learned; auto: thirty passes over the pictures"},
      {"tuning-start", "auto",
       "nearest or gptq: the codes that learned rounding begins with; auto: gptq for "
       "straight-through"},
      {"range-loss", "plain",
       "plain: all errors count alike where ranges of activations are searched; fisher: below 8 "
       "bits by what they cost the outputs"},
      {"tuning-loss", "plain",
       "plain: all errors of a block count alike; fisher: by what they cost the outputs, for "
       "transformers"},
      {"drop-slow-layers", "off", "on: layers that integers slow down on this machine stay float"},
  };
}

namespace {

const MethodOption& option_named(const std::vector<MethodOption>& options, std::string_view name) {
  return *std::find_if(options.begin(), options.end(),
                       [&](const MethodOption& one) { return one.name == name; });
}

quantize::ErrorWeighing option_weighing(const Request& request, const MethodOption& option) {
  const std::string text = option_text(request, option);
  const auto weighing = quantize::error_weighing_from_name(text);
  if (!weighing) refuse(option, text, "plain, fisher");
  return *weighing;
}

void set_rounding(quantize::Options& options, const Request& request,
                  const std::vector<MethodOption>& common) {
  const auto option = [&](std::string_view name) -> const MethodOption& {
    return option_named(common, name);
  };
  const std::string rounding = option_text(request, option("rounding"));
  const auto rule = quantize::rounding_from_name(rounding);
  if (!rule) {
    refuse(option("rounding"), rounding, "nearest, gptq, adaround, brecq, qdrop, straight-through");
  }
  options.rounding = *rule;
  const bool straight = *rule == quantize::Rounding::kStraightThrough;
  const std::string start = option_text(request, option("tuning-start"));
  const auto codes = quantize::tuning_start_from_name(start != "auto" ? start
                                                      : straight      ? "gptq"
                                                                      : "nearest");
  if (!codes) refuse(option("tuning-start"), start, "nearest, gptq, auto");
  options.tuning_start = *codes;
  options.tuning_loss = option_weighing(request, option("tuning-loss"));
  options.range_loss = option_weighing(request, option("range-loss"));
  const std::string steps = option_text(request, option("tuning-steps"));
  if (steps == "auto") return;
  options.tuning_steps = static_cast<int64_t>(option_number(request, option("tuning-steps")));
  if (options.tuning_steps < 1) refuse(option("tuning-steps"), steps, "1 and more, auto");
}

}  // namespace

quantize::Options common_settings(const Request& request, std::string_view weight_range) {
  const std::vector<MethodOption> common = common_options(weight_range);
  const auto option = [&](std::string_view name) -> const MethodOption& {
    return option_named(common, name);
  };
  quantize::Options options;
  quantize::LayerSettings& layer = options.layer;
  layer.weights.bits = request.weight_bits;
  layer.weights.ternary = request.ternary;
  layer.float_activations = request.activation_bits == 0;
  if (!layer.float_activations) layer.activation_bits = request.activation_bits;
  layer.ternary_activations = request.ternary_activations;
  layer.activation_grid = request.activation_grid;
  const std::string range = option_text(request, option("weight-range"));
  options.search_few_bits = range == "auto";
  const auto rule = quantize::weight_rule_from_name(options.search_few_bits ? "minmax" : range);
  if (!rule) refuse(option("weight-range"), range, "minmax, mse, auto");
  layer.weights.rule = *rule;
  quantize::set_granularity(layer.weights, option_text(request, option("granularity")));
  set_rounding(options, request, common);
  // Correcting models without ranges would make them depend on data that they otherwise do without.
  options.bias_correction =
      flag_or_auto(request, option("bias-correction"),
                   request.needs_ranges() && fewest_bits(request) < quantize::kMaxBits &&
                       !quantize::is_learned(options.rounding));
  options.keep_ends8 = flag_or_auto(request, option("keep-ends8"),
                                    fewest_bits(request) < quantize::kFewestPlainBits);
  options.embeddings8 = flag_or_auto(request, option("embeddings8"),
                                     fewest_bits(request) < quantize::kFewestPlainBits);
  const std::string residual = option_text(request, option("residual"));
  if (residual != "operands" && residual != "accumulator") {
    refuse(option("residual"), residual, "operands, accumulator");
  }
  options.residual = residual == "operands" ? quantize::ResidualStyle::kQuantizedOperands
                                            : quantize::ResidualStyle::kAccumulator;
  set_guard(options, request, option("guard"));
  options.transforms.equalize = option_flag(request, option("equalize"));
  const std::string rotation = option_text(request, option("rotation"));
  const auto matrices = quantize::rotation_from_name(rotation);
  if (!matrices) refuse(option("rotation"), rotation, "none, hadamard");
  options.transforms.rotation = *matrices;
  const std::string norms = option_text(request, option("norms"));
  const auto transform = quantize::norm_transform_from_name(norms);
  if (!transform) refuse(option("norms"), norms, "none, repq, smooth");
  options.transforms.norms = *transform;
  options.transforms.smooth_alpha = option_number(request, option("smooth-alpha"));
  if (!(options.transforms.smooth_alpha >= 0.0 && options.transforms.smooth_alpha <= 1.0)) {
    refuse(option("smooth-alpha"), option_text(request, option("smooth-alpha")),
           "a number from 0 to 1");
  }
  options.drop_slow_layers = option_flag(request, option("drop-slow-layers"));
  return options;
}

}  // namespace ounce::methods
