#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <vector>

#include "quantize/insert_qdq.h"
#include "quantize/plan/plan.h"
#include "train/module.h"
#include "train/quantizers/ada_round.h"
#include "train/quantizers/fixed_scale_weight.h"

namespace ounce::methods {

/// What is learned of a part of a network, beside its biases.
struct TuningChoices {
  enum class Weights : uint8_t {
    kRounding,  // whether each is rounded up or down (AdaRound)
    kValues,    // themselves, by straight-through gradients
  };
  Weights weights = Weights::kRounding;
  bool activation_scales = false;  // of grids of fewer than 8 bits
  /// Share of the elements of activations that stay float in training.
  double drop = 0.0;
  uint64_t seed = 1;  // of the choice
};

/// An activation on a calibrated grid whose scale may be learned: a factor of the calibrated one.
/// In training a share of the elements stays float (QDrop).
class TunedGrid : public train::Quantizer {
 public:
  TunedGrid(quantize::QuantParams grid, double drop, uint64_t seed);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<train::NamedTensor> parameters() override { return {{"log_factor", log_factor_}}; }
  train::Grid freeze(const at::Tensor& x) const override;
  /// The grid as learned so far.
  quantize::QuantParams grid() const;

 private:
  at::Tensor scale() const;

  quantize::QuantParams grid_;
  double drop_;
  uint64_t random_;        // state of the choice
  at::Tensor log_factor_;  // of the scale, [1]
};

/// A part of a quantized network as libtorch tunes it.
struct TunedPart {
  train::Module module;
  std::map<size_t, std::shared_ptr<train::FixedScaleWeight>> weights;  // by layer of the plan
  std::map<size_t, std::shared_ptr<train::AdaRoundWeight>>
      rounding;                                        // likewise; those of kRounding
  std::map<size_t, std::shared_ptr<TunedGrid>> grids;  // by grid of the plan: learned ones
  std::map<size_t, std::string> biases;                // by layer: names of parameters
};

/// `part`: some of what `insert_qdq` made of `prepared`; `layers` (of the plan) lie in it. Layers
/// of one bit keep their signs and their biases. A grid is learned where all its values lie in the
/// part.
TunedPart make_tuned_part(const Graph& prepared, const quantize::Plan& plan,
                          const quantize::Calibration& calibration, Graph part,
                          const std::vector<size_t>& layers, const TuningChoices& choices);

}  // namespace ounce::methods
