#pragma once

#include <vector>

#include "quantize/search/workbench.h"

namespace ounce::quantize::search {

/// Measures what single units lose: the divergence of the network's outputs from the float ones,
/// with one unit at a setting and everything else in float.
class UnitLosses {
 public:
  /// `inputs` are runs that did not calibrate. Runs the float network on them.
  UnitLosses(Workbench& workbench, std::vector<std::vector<Tensor>> inputs, int threads,
             const Progress& progress);

  /// Mean divergence over the first `runs` inputs.
  double loss(const Unit& unit, const Setting& setting, int64_t runs, const Progress& progress);

  int64_t runs() const { return static_cast<int64_t>(inputs_.size()); }

 private:
  Workbench& workbench_;
  std::vector<std::vector<Tensor>> inputs_;
  std::vector<std::vector<Tensor>> exact_;  // outputs of the float network
  int threads_;
};

}  // namespace ounce::quantize::search
