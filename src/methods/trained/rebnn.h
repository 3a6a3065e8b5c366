#pragma once

#include <memory>
#include <optional>

#include "methods/trained/binary_network.h"
#include "methods/trained/method.h"
#include "train/quantizers/sign_weight.h"

namespace ounce::methods {

/// The arms of the experiments; the defaults are the method.
struct RebnnSettings {
  enum class Scale { kMean, kLearned };
  enum class Gamma { kZero, kConstant, kAdaptive };

  /// alpha = mean|w| without gradient (ReActNet), or learned from there.
  Scale scale = Scale::kLearned;
  /// Weight of the reconstruction error: none, `constant_gamma`, or from flips and gradients.
  Gamma gamma = Gamma::kAdaptive;
  /// The released code's 2e-4 unless set.
  double constant_gamma = 2e-4;
  /// Adaptive gammas are kept within [1e-5, `constant_gamma`].
  bool clamp_gamma = false;
  /// Gradients of the released code (`LearnedSignOptions`) instead of the paper's.
  bool released_gradient = false;
  Ends ends = Ends::kFloat;
};

/// The least of clamped gammas, in the released code.
inline constexpr double kLeastGamma = 1e-5;

/// alpha * sign(w) with ReBNN's gamma, a channel each (arXiv 2302.00956, sheet section 4.3):
///   gamma = flips / M * max|G|
/// with the flips of the step and the largest gradient of its batches; 0 before the first.
class ResilientSignWeight : public train::LearnedSignWeight {
 public:
  ResilientSignWeight(const train::Slices& channels, const RebnnSettings& settings);

 protected:
  void on_step(const train::SignStep& step) override;

 private:
  bool is_adaptive_;
  std::optional<double> most_;  // gammas are clamped up to it
};

/// Resilient binary neural network: signs of activations and weights, alpha learned with the
/// penalty gamma / 2 ||w - alpha sign(w)||^2, which is part of the loss.
train::Student rebnn(const Graph& graph, const RebnnSettings& settings);

/// The keys `scale`, `gamma`, `constant_gamma`, `clamp_gamma`, `gradient`, `ends` of a stage.
RebnnSettings read_rebnn_settings(Settings& stage);
std::unique_ptr<TrainedMethod> read_rebnn(Settings& stage);

}  // namespace ounce::methods
