#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "quantize/source.h"

/// Pictures made by gradient from a trained network, for those who may not use any.
namespace ounce::methods {

/// What pictures are asked to be, beside smooth and of the classes they were given.
struct PictureGoals {
  bool noise = false;              // nothing: Gaussian noise, not optimized at all
  bool attention_priors = false;   // APA of SARDFQ
  bool regions = false;            // MSR of SARDFQ
  bool soft_labels = false;        // SL of SARDFQ; else one class each
  bool different_patches = false;  // PSAQ-ViT's entropy of patch similarities
  bool norm_statistics = false;    // those of BatchNormalization layers
  bool operator==(const PictureGoals&) const = default;
};

/// "noise", "one-hot" (classes and smoothness alone), "psaq", "sardfq", "batch-norm", or parts of
/// SARDFQ joined by "+": "apa", "msr", "sl". nullopt for anything else.
std::optional<PictureGoals> picture_goals_from_name(std::string_view name);
inline constexpr std::string_view kPictureGoals =
    "sardfq, psaq, batch-norm, one-hot, noise, or some of apa, msr, sl joined by +";

struct SynthesisOptions {
  PictureGoals goals;
  int64_t pictures = 32;
  int64_t steps = 300;
  double learning_rate = 0.2;
  double attention_weight = 1.0;  // a1
  double smoothness = 0.05;
  /// Of the network's preprocessing, in the order of its channels: pixels are kept within those of
  /// a picture, (0 - mean) / std to (1 - mean) / std.
  std::array<double, 3> mean = {0, 0, 0};
  std::array<double, 3> std = {1, 1, 1};
  uint64_t seed = 1;
  int threads = 1;
};

/// The goals that suit a network: SARDFQ's for one with attention between patches,
/// BatchNormalization statistics for one that has them. Throws `Error` saying what was looked for
/// when it has neither.
PictureGoals goals_for(const Graph& graph);

/// Makes pictures, each [1, 3, height, width] as the network takes them, by Adam (betas 0.5 and
/// 0.9, warm-up over a tenth of the steps, then cosine) from Gaussian noise. The network needs one
/// input of pictures, of a size that is known; classes are the columns of an output [pictures,
/// classes], without which nothing is asked of them. A network of a fixed number of pictures is run
/// several times. Throws `Error` when goals ask for what the network has not, `Interrupted`.
std::vector<Tensor> synthesize(const Graph& graph, const SynthesisOptions& options,
                               const quantize::Progress& progress);

}  // namespace ounce::methods
