#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "quantize/calibrate.h"
#include "quantize/insert_qdq.h"
#include "quantize/options.h"

namespace ounce::quantize {

/// A calibration with what it was chosen by.
struct Calibrated {
  Observations observations;
  Calibration calibration;
};

/// Calibrations of many plans for one float network over the same data: a range that one plan made
/// known, and a layer quantized for one plan, serve every later plan that asks for the same. Data
/// are read only for what is new. The answers are those of an empty cache but for the last bits of
/// the float network, which depend on the values looked at together.
class CalibrationCache {
 public:
  /// Whether a plan's numbers can be put together piece by piece: what a layer gets must not depend
  /// on the other layers, as it does where rounding goes by the quantized network.
  static bool serves(const Plan& plan, const Options& options);

  /// Ranges, codes, scales and corrected biases. Throws as `observe`.
  Calibrated calibrate(const Graph& prepared, const Plan& plan, const Options& options,
                       InputSource& source, const Progress& progress = {});

 private:
  struct Grid {
    ObservedData data;
    QuantParams params;
  };

  void observe_grids(const Graph& prepared, const Plan& plan, const std::vector<std::string>& keys,
                     const Options& options, InputSource& source, const Progress& progress);
  void quantize_layers(const Graph& prepared, const Plan& plan, const Calibration& calibration,
                       const std::vector<std::string>& keys, const Options& options,
                       InputSource& source, const Progress& progress);

  std::map<std::string, Grid> grids_;
  std::map<std::string, QuantizedLayer> layers_;
  int64_t runs_ = 0;
};

}  // namespace ounce::quantize
