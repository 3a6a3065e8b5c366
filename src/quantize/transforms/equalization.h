#pragma once

#include <vector>

#include "quantize/transforms/transform.h"

namespace ounce::quantize {

/// Two layers between which channels can be scaled: what lies between gives s f(x) for f(s x) with
/// s > 0, channel by channel, and nothing else reads it.
struct EqualizedPair {
  int first = -1;   // Conv, Gemm or MatMul with constant weights
  int second = -1;  // likewise; a depthwise convolution is the second of one pair and the first of
                    // the next, which makes the paper's chains of three
  int64_t channels = 0;
  std::vector<ValueId> values;  // between them, all of which are scaled
};

/// All pairs of a graph, in order. What may lie between: Relu, LeakyRelu, PRelu, Identity, pools,
/// means over pixels, moves that keep channels apart. A Clip does not scale (its bounds are the
/// same for all channels), nor do sigmoids and their kin.
std::vector<EqualizedPair> equalized_pairs(const Graph& graph);

/// Cross-layer equalization (Nagel et al., arXiv 1906.04721, section 4.1): s = sqrt(r1 r2) / r2 of
/// each channel (eq. 11), where r1 = max |W1| over what the channel is made of and r2 = max |W2|
/// over what reads it, pair after pair until nothing changes by more than a thousandth. Returns the
/// factor by which each channel of each pair is divided. Channels with no weights on a side keep 1.
std::vector<std::vector<float>> equalizing_scales(const Graph& graph,
                                                  const std::vector<EqualizedPair>& pairs);

/// W1[c] and b1[c] are divided by scales[c], W2[:, c] is multiplied by it. Exact but for rounding.
void scale_pair(Graph& graph, const EqualizedPair& pair, std::span<const float> scales);

/// Equalizes all pairs of a graph, and undoes those without which its two layers lose less on
/// windows of the calibration data. Expects batch normalization to be folded.
void equalize(Graph& graph, const Options& options, InputSource& source, const Progress& progress,
              std::vector<TransformRecord>& records);

}  // namespace ounce::quantize
