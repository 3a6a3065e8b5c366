#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "quantize/options.h"
#include "quantize/quantizer.h"

namespace ounce::methods {

/// What the user asked for, the same words for every method.
struct Request {
  int weight_bits = 8;               // 1 .. 8
  bool ternary = false;              // the weights are -1, 0, 1 times a scale; `weight_bits` is 2
  int activation_bits = 8;           // 1 .. 8; 0: activations stay float
  bool ternary_activations = false;  // they are -1, 0, 1 times a scale; `activation_bits` is 2
  quantize::ActivationGrid activation_grid = quantize::ActivationGrid::kCalibrated;
  quantize::SoftmaxCodes softmax = quantize::SoftmaxCodes::kUniform;
  int threads = 1;
  /// Options of the method by name (`Method::options`).
  std::map<std::string, std::string> options;
  std::vector<quantize::Override> overrides;

  /// Whether ranges of activations must be found in data.
  bool needs_ranges() const {
    const bool dynamic = activation_grid != quantize::ActivationGrid::kCalibrated;
    return activation_bits == 1 || (activation_bits != 0 && !dynamic);
  }
};

struct MethodOption {
  std::string_view name;
  std::string_view fallback;  // value when it is not given
  std::string_view meaning;
};

/// A published or common way to compress a model.
struct Method {
  std::string_view name;
  std::string_view summary;
  std::string_view paper;  // reference, empty for common practice
  std::string_view needs;  // data, labels, a teacher, ...
  std::vector<MethodOption> options;
  /// The settings of the quantizer that make the method up. Option values are checked.
  quantize::Options (*configure)(const Request& request);
};

/// All methods, by name.
const std::vector<Method>& all_methods();

/// Throws `Error` that lists the names there are.
const Method& find_method(std::string_view name);

/// `configure` after checking that every option given is one of the method's, with `softmax`,
/// `overrides` and `threads` filled in. Throws `Error` naming the option.
quantize::Options configure(const Method& method, const Request& request);

/// Compresses a model. `refine` learns where `configure` says that rounding is learned.
quantize::QuantizeResult run(const Method& method, const Graph& graph, const Request& request,
                             quantize::InputSource& source, const quantize::Progress& progress = {},
                             const quantize::Refinement& refine = {});

/// Value of an option: as given, else its fallback. For use in `configure` functions.
std::string option_text(const Request& request, const MethodOption& option);
bool option_flag(const Request& request, const MethodOption& option);  // on / off
double option_number(const Request& request, const MethodOption& option);

/// Options that every post-training method has: bias-correction, weight-range, granularity,
/// keep-ends8, embeddings8, residual, guard, equalize, rotation, norms, smooth-alpha, rounding,
/// tuning-steps, tuning-start, tuning-loss, range-loss, drop-slow-layers.
std::vector<MethodOption> common_options(std::string_view weight_range);
/// Bits and common options of a request.
quantize::Options common_settings(const Request& request, std::string_view weight_range);

}  // namespace ounce::methods
