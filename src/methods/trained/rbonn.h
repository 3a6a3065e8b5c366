#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "methods/trained/binary_network.h"
#include "methods/trained/method.h"
#include "train/quantizers/sign_weight.h"

namespace ounce::methods {

/// The paper and its released code compute different things.
enum class RbonnMode {
  kCodeFixed,  // binarizes w - u * (last gradient) of gated channels; w itself stays
  kPaper,      // adds u * w of gated channels to w behind every step
};

struct RbonnSettings {
  RbonnMode mode = RbonnMode::kCodeFixed;
  /// Channels below this share of the ranking are left alone; 1 switches the recurrence off.
  double tau = 0.6;
  /// Weight of the penalty 1/2 ||w - alpha sign(w)||^2.
  double lambda = 1e-4;
  /// Code mode: the channels of the largest ||w||_1 are not gated. The paper's always does so.
  bool sparse_gate = false;
  /// Code mode: reads the order of the channels as if it were their ranks, as the code does.
  bool released_gate = false;
  /// Gradients of the released code (`LearnedSignOptions`) instead of the exact ones.
  bool released_gradient = false;
  Ends ends = Ends::kFloat;
};

/// The channels that the recurrence moves (sheet section 4.2, DReLU): 1 or 0 each, [count], in the
/// type of `alpha`. They have the smallest alpha, which is the largest A = 1 / alpha; of equals the
/// first. `norms` [count] is ||w||_1 of each.
at::Tensor rbonn_gate(const at::Tensor& alpha, const at::Tensor& norms,
                      const RbonnSettings& settings);

/// alpha * sign(w~) of RBONN (arXiv 2209.01542): alpha is learned, with the penalty that lambda
/// weighs. While it trains w~ is what `RbonnMode` says, with a learned u for each channel.
///
/// The last gradient (or weights) is not saved: the first step of a quantizer, and the first after
/// a checkpoint was loaded, is one without recurrence.
class RecurrentSignWeight : public train::LearnedSignWeight {
 public:
  RecurrentSignWeight(const train::Slices& channels, const RbonnSettings& settings);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<train::NamedTensor> parameters() override;
  void after_step() override;

  /// Length of what the recurrence adds to the weights next over theirs, a number that tells when
  /// u or gradients grow too large; undefined before the first step.
  at::Tensor reach() const;

  /// Mean length of a step's change of the weights of a gated channel over that of another, since
  /// it was last asked for (sheet section 7); nothing before the first step.
  std::optional<double> take_update_ratio();

 private:
  at::Tensor gate(const at::Tensor& w) const;
  void tally_updates();

  RbonnSettings settings_;
  bool is_recurrent_;
  at::Tensor u_;         // [count]
  at::Tensor latent_;    // the weights that this step trains; undefined between steps
  at::Tensor before_;    // their values before the step
  at::Tensor moved_;     // paper mode: DReLU of `before_`
  at::Tensor previous_;  // of the last step: gradient (code mode) or weights (paper mode)
  at::Tensor updates_;   // [2]: sums over steps of mean lengths, of gated channels and of others
};

train::Student rbonn(const Graph& graph, const RbonnSettings& settings);

/// The keys `mode`, `tau`, `lambda`, `sparse_gate`, `gate`, `gradient`, `ends` of a stage.
RbonnSettings read_rbonn_settings(Settings& stage);
std::unique_ptr<TrainedMethod> read_rbonn(Settings& stage);

}  // namespace ounce::methods
