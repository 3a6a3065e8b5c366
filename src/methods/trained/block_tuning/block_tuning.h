#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "methods/trained/block_tuning/tuned_part.h"
#include "quantize/quantizer.h"

namespace ounce::methods {

/// How rounding is learned.
struct BlockTuningOptions {
  enum class Unit : uint8_t { kLayer, kBlock };
  Unit unit = Unit::kBlock;
  /// `choices.drop` 0.5 is QDrop (arXiv 2203.05740): so many elements of activations stay float in
  /// a step, and so many of the block's input are those of the float network; 0 is BRECQ
  /// (2102.05426).
  TuningChoices choices;
  /// How errors of a block's results are weighed: alike, or by what they cost the outputs (see
  /// `error_weights`).
  bool fisher = false;
  int64_t steps = 0;            // of each unit; 0: thirty passes over the data
  int64_t batch = 16;           // runs of the calibration data in a step
  double learning_rate = 1e-2;  // of weights: rounding variables, or values in steps of their grid
  double bias_rate = 1e-3;      // of biases; 0: they stay
  double scale_rate = 1e-3;     // of the logarithms of activation scales
  bool anneal = false;          // `learning_rate` falls to 0, too, as the other two always do
  double decisiveness = 0.01;   // weight of AdaRound's penalty for rounding that is not decided
  uint64_t seed = 1;
  int threads = 1;
  /// Where finished blocks are kept for a run that is stopped, and what a run must have in common
  /// with the one that left them there. Empty: nowhere.
  std::filesystem::path saved;
  std::string identity;
};

/// Those of `rounding` (AdaRound: layers; BRECQ, QDrop and straight-through: blocks), `tuning_loss`
/// and `tuning_steps`.
BlockTuningOptions tuning_options(const quantize::Options& options, uint64_t seed);

/// Tunes weights block by block (AdaRound, 2004.10568, with blocks as units), beginning with the
/// codes of the calibration: what a block makes
/// of the input that the blocks before it, quantized, hand on is brought close to what it made in
/// the float network, by learning which weights are rounded up (or the weights themselves), biases,
/// and where `choices` says so scales of activations. Scales of weights and zero points stay as
/// they are calibrated; layers of one bit stay whole. The data are read once and kept: two tensors
/// a run at a border of two blocks, and what a block is to make of them.
quantize::Refinement block_tuning(const BlockTuningOptions& options);

}  // namespace ounce::methods
