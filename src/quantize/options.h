#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "quantize/range.h"
#include "quantize/weights.h"

namespace ounce::quantize {

/// Below so many bits other defaults hold: the first and the last layers keep 8 bits, weight scales
/// are searched, and no guard puts into float what is bound to lose much without training.
inline constexpr int kFewestPlainBits = 4;

/// Where the grids of a linear layer's activations come from.
enum class ActivationGrid : uint8_t {
  kCalibrated,     // one a tensor, from data
  kDynamicTensor,  // from the values themselves while the model runs, one a tensor
  kDynamicToken,   // likewise, one a row
};

/// "off", "tensor" or "token"; nullopt otherwise.
std::optional<ActivationGrid> activation_grid_from_name(std::string_view name);
std::string_view name_of(ActivationGrid grid);

/// How a layer's numbers are quantized.
struct LayerSettings {
  WeightOptions weights;
  int activation_bits = 8;           // 1 .. 8
  bool ternary_activations = false;  // codes -1, 0, 1, counted as 2 bits
  ActivationGrid activation_grid = ActivationGrid::kCalibrated;
  bool float_weights = false;      // weights stay f32 (then the layer stays in float)
  bool float_activations = false;  // weight-only quantization of this layer
  RangeRule range = RangeRule::kMse;
  double percentile = 99.99;
};

/// A changed setting for the layers that a pattern names, e.g. "head.*:weights=8".
struct Override {
  std::string pattern;  // of node name or scope: '*' any characters, '?' one
  std::string key;
  std::string value;
};

/// Parses "PATTERN:KEY=VALUE". Keys: `weights` and `activations` (1 .. 8, "ternary" or "float"),
/// `dynamic` ("off", "tensor", "token"), `range` (a range rule), `percentile`, `weight-range`
/// ("minmax", "mse"), `granularity` ("tensor", "channel", "group:N"). Throws `Error` that lists
/// what is possible.
Override parse_override(std::string_view text);

/// Whether a word asks for numbers as they are: "f32" or "float".
bool is_float_word(std::string_view text);

/// Sets the bits of activations from "1" .. "8" or "ternary"; false, and nothing is set, when the
/// text is neither.
bool set_activation_bits(LayerSettings& layer, std::string_view text);

/// Throws `Error` when settings exclude each other: grids that are made while the model runs are
/// not ternary. `where`: which layer, or nothing.
void check_settings(const LayerSettings& layer, const std::string& where);

/// Sets granularity and group size from "tensor", "channel" or "group:N"; throws `Error` otherwise.
void set_granularity(WeightOptions& weights, std::string_view text);

/// Whether `text` matches the glob.
bool matches(std::string_view pattern, std::string_view text);

/// What the second operand of a residual addition is.
enum class ResidualStyle {
  /// Both operands are quantized, as other runtimes need it for integer addition.
  kQuantizedOperands,
  /// The convolution's accumulator goes into the addition unrounded.
  kAccumulator,
};

/// What normalizations and the linear layers behind them share out anew (transforms/).
enum class NormTransform : uint8_t {
  kNone,
  kRepq,    // all channels get the range of their mean
  kSmooth,  // magnitudes of activations and weights are made alike
};

/// "none", "repq", "smooth"; nullopt otherwise.
std::optional<NormTransform> norm_transform_from_name(std::string_view name);
std::string_view name_of(NormTransform transform);

/// Orthogonal matrices that the residual stream and the heads of a transformer are multiplied by.
enum class Rotation : uint8_t {
  kNone,
  kHadamard,  // randomised (transforms/orthogonal.h)
};

/// "none", "hadamard"; nullopt otherwise.
std::optional<Rotation> rotation_from_name(std::string_view name);
std::string_view name_of(Rotation rotation);

/// Changes of the float graph that leave what it computes, before anything is quantized.
struct TransformOptions {
  bool equalize = false;  // channels between two layers and a ReLU (transforms/equalization.h)
  Rotation rotation = Rotation::kNone;
  NormTransform norms = NormTransform::kNone;
  double smooth_alpha = 0.5;  // of kSmooth: share of the work that weights take over, 0 .. 1

  /// Whether there is anything to do.
  bool any() const {
    return equalize || rotation != Rotation::kNone || norms != NormTransform::kNone;
  }
};

/// How weights become codes once scales are chosen.
enum class Rounding : uint8_t {
  kNearest,
  kGptq,      // what rounding a weight costs is made up for by those that follow (rounding/gptq.h)
  kAdaRound,  // learned, layer by layer
  kBrecq,     // learned, block by block
  kQdrop,     // the same with some activations left float meanwhile
  kStraightThrough,  // the weights themselves are learned, block by block
};

/// Whether it takes a `Refinement` that learns.
bool is_learned(Rounding rounding);

/// "nearest", "gptq", "adaround", "brecq", "qdrop", "straight-through"; nullopt otherwise.
std::optional<Rounding> rounding_from_name(std::string_view name);
std::string_view name_of(Rounding rounding);

/// What the codes of a learned rounding are at first.
enum class TuningStart : uint8_t { kNearest, kGptq };
std::optional<TuningStart> tuning_start_from_name(std::string_view name);

/// How errors are weighed.
enum class ErrorWeighing : uint8_t {
  kPlain,   // all alike
  kFisher,  // by what they cost the network's outputs
};
/// "plain", "fisher"; nullopt otherwise.
std::optional<ErrorWeighing> error_weighing_from_name(std::string_view name);

/// How the softmax maps that the products of attention read are quantized.
enum class SoftmaxCodes {
  kUniform,   // on a grid, as other activations
  kLog2,      // 2^-k
  kLogSqrt2,  // 2^(-k / 2)
};
std::string_view name_of(SoftmaxCodes codes);
std::optional<SoftmaxCodes> softmax_codes_from_name(std::string_view name);

/// Logarithmic codes have as many bits as the activations of their product, and never more than
/// these: with base 2, 16 codes reach down to 2^-15, far below what a softmax map is read for.
inline constexpr int kMostLogBits = 4;

struct Options {
  TransformOptions transforms;
  LayerSettings layer;  // for layers that no override names
  /// Errors by which ranges of activations are searched.
  ErrorWeighing range_loss = ErrorWeighing::kPlain;
  Rounding rounding = Rounding::kNearest;
  /// Where rounding is learned. Steps of each block; 0: thirty passes over the data, more are
  /// learned by heart.
  int64_t tuning_steps = 0;
  TuningStart tuning_start = TuningStart::kNearest;
  ErrorWeighing tuning_loss = ErrorWeighing::kPlain;  // errors of a block's results
  std::vector<Override> overrides;

  /// The tensor between a product and the table of its activation function (SiLU, GELU, ...) is
  /// quantized, so that no f32 tensor stands between layers. It always may have 8 bits: its codes
  /// only index a table. False: the function is computed in float.
  bool quantize_before_tables = true;
  int table_input_bits = 8;

  /// First and last layers at 8 bits when others have fewer; bits that an override names win.
  bool keep_ends8 = false;
  /// Large constants that are added to activations (position embeddings) or looked up (token
  /// embeddings) are stored with 8 bits; they are computed with as floats all the same.
  bool embeddings8 = false;
  /// Weight scales of fewer than `kFewestPlainBits` bits are searched (`WeightRule::kMse`) where no
  /// override names a rule.
  bool search_few_bits = false;
  ResidualStyle residual = ResidualStyle::kQuantizedOperands;
  /// Additions that join linear layers (transformer residuals) become integers too.
  bool integer_residual_of_linear = false;
  bool quantize_attention = true;  // q k^T and p v
  SoftmaxCodes softmax = SoftmaxCodes::kUniform;
  /// Subtract from the bias what quantized weights add to the mean output.
  bool bias_correction = false;
  /// Keep pieces in float whose own signal to noise (judged on a few calibration inputs) stays
  /// below so many dB a bit; 0: keep none. A good quantizer has 6, so 3 means: half of the bits are
  /// lost.
  double least_db_per_bit = 0.0;
  int fewest_guarded_bits = 1;  // pieces with fewer bits are not judged
  /// Keep layers in float that run slower on integers on this machine.
  bool drop_slow_layers = false;
  int threads = 1;

  /// Whether it takes a `Refinement`.
  bool needs_gradients() const {
    return is_learned(rounding) || range_loss == ErrorWeighing::kFisher;
  }

  /// Whether anything but ranges of activations goes by the calibration data.
  bool looks_at_data() const {
    return transforms.any() || rounding != Rounding::kNearest || bias_correction;
  }
};

/// Settings of a node after all overrides that match it, the later ones winning. Throws `Error`
/// naming the override that cannot be applied, or the node whose settings exclude each other.
LayerSettings settings_for(const Options& options, const Node& node);

/// Whether an override with this key names the node.
bool is_overridden(const Options& options, const Node& node, std::string_view key);

}  // namespace ounce::quantize
