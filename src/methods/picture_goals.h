#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

/// What pictures that are made from a network are to be like. How they are made needs the trainer:
/// methods/trained/synthesis.
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
  std::optional<PictureGoals> goals;  // nullopt: those that suit the network
  int64_t pictures = 32;
  int64_t steps = 300;
  double learning_rate = 0.2;
  double attention_weight = 1.0;  // a1
  double smoothness = 0.05;
  /// What black and white become in the network's input, channel by channel: pixels are kept
  /// between.
  std::array<double, 3> black = {0, 0, 0};
  std::array<double, 3> white = {1, 1, 1};
  uint64_t seed = 1;
  int threads = 1;
};

}  // namespace ounce::methods
