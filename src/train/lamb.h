#pragma once

#include <torch/optim/adam.h>

#include <vector>

namespace ounce::train {

/// LAMB (You et al. 2020, algorithm 2): Adam's step with decoupled weight decay, scaled for each
/// tensor by |w| / |step|, 1 where either is 0. State and options are Adam's, so that checkpoints
/// of both have one form.
class Lamb final : public torch::optim::Adam {
 public:
  using torch::optim::Adam::Adam;

  torch::Tensor step(LossClosure closure = nullptr) override;
};

}  // namespace ounce::train
