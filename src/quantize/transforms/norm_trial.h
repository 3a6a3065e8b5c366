#pragma once

#include "quantize/transforms/channel_observer.h"
#include "quantize/transforms/layer_trial.h"
#include "quantize/transforms/norm_fold.h"
#include "quantize/transforms/norm_scaling.h"

namespace ounce::quantize {

/// What a normalization hands out, with the layers behind it, before and after it is scaled.
class NormTrial {
 public:
  /// `seen`: of the normalization's result; it must outlive the trial.
  NormTrial(const Graph& graph, const Options& options, const NormFold& fold,
            const ObservedChannels& seen);
  NormTrial(std::vector<LinearLayer> layers, bool has_offset, const ObservedChannels& seen);

  /// Whether any layer quantizes anything.
  bool matters() const;
  /// By `options.norms`, which is not kNone.
  NormScaling scaling(const TransformOptions& options) const;
  Strength strength() const;
  Strength strength(const NormScaling& scaling) const;
  /// The one with less noise of both, or without scaling where none is asked for.
  Strength best(const TransformOptions& options) const;

 private:
  int activation_bits() const;
  std::vector<float> magnitudes() const;
  std::vector<float> weight_magnitudes() const;

  std::vector<LinearLayer> layers_;
  bool has_offset_;
  const ObservedChannels& seen_;
};

/// Channels of rows [count, channels] as if they had been read as data.
ObservedChannels channels_of_rows(Tensor rows);

}  // namespace ounce::quantize
