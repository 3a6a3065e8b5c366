#pragma once

#include <vector>

#include "quantize/plan/plan.h"

namespace ounce::quantize {

/// Measures what single grids lose: the divergence of the network's outputs from the float ones,
/// with the values of one grid rounded where integer work reads them, and everything else in float.
class GridLosses {
 public:
  /// Runs the float network on `inputs`. `prepared` and `plan` must outlive this.
  GridLosses(const Graph& prepared, const Plan& plan, std::vector<std::vector<Tensor>> inputs,
             int threads);

  /// Mean divergence over the inputs with grid number `grid` of the plan as `params`.
  double loss(size_t grid, const QuantParams& params) const;

 private:
  const Graph& prepared_;
  const Plan& plan_;
  std::vector<std::vector<Tensor>> inputs_;
  std::vector<std::vector<Tensor>> exact_;  // outputs of the float network
  int threads_;
};

}  // namespace ounce::quantize
