#pragma once

#include <cstdint>

#include "quantize/quantizer.h"

namespace ounce::methods {

/// How rounding is learned.
struct BlockTuningOptions {
  enum class Unit : uint8_t { kLayer, kBlock };
  Unit unit = Unit::kBlock;
  int64_t steps = 500;  // of each block
  int64_t batch = 32;   // runs of the calibration data in a step
  double learning_rate = 1e-2;
  /// Share of the elements of activations that stay float in a step, and of the block's input that
  /// are those of the float network: 0.5 is QDrop (arXiv 2203.05740), 0 is BRECQ (2102.05426).
  double drop = 0.5;
  /// Weight of AdaRound's penalty for rounding that is not decided.
  double decisiveness = 0.01;
  uint64_t seed = 1;
  int threads = 1;
};

/// Those of `rounding` (AdaRound: layers; BRECQ and QDrop: blocks) and `tuning_steps`.
BlockTuningOptions tuning_options(const quantize::Options& options, uint64_t seed);

/// Rounds weights block by block (AdaRound, 2004.10568, with blocks as units): what a block makes
/// of the input that the blocks before it, quantized, hand on is brought close to what it made in
/// the float network, by learning which weights are rounded up. Scales and activations stay as they
/// are calibrated. Layers of one bit keep their signs. The data are read once and kept: two tensors
/// a run at a border of two blocks.
quantize::Refinement block_tuning(const BlockTuningOptions& options);

}  // namespace ounce::methods
