#pragma once

#include <span>
#include <vector>

#include "quantize/range.h"

namespace ounce::quantize {

/// x'[c] = x[c] / scales[c] - shifts[c] of each channel; no shifts: an empty vector.
struct NormScaling {
  std::vector<float> scales;
  std::vector<float> shifts;
};

/// RepQ-ViT (arXiv 2212.08254, section 3.3): each channel's own grid (s, z) by `request`'s rule
/// becomes the one grid (mean s, mean z) that all channels share,
///   scales = s / mean s, shifts = mean s * (mean z - z).
/// Channels that never change are left out of the means, and alone. Without `with_shifts` grids are
/// symmetric: only the extents are made alike.
NormScaling repq_scaling(std::span<const ObservedData> channels, const RangeRequest& request,
                         bool with_shifts);

/// SmoothQuant (arXiv 2211.10438, eq. 4): scales = max |X_c|^alpha / max |W_c|^(1 - alpha), at
/// least 1e-5. `magnitudes`: max |X| of each channel; `weights`: max |W| of each channel over all
/// layers that read it. `alpha` in [0, 1].
NormScaling smooth_scaling(std::span<const float> magnitudes, std::span<const float> weights,
                           double alpha);

}  // namespace ounce::quantize
