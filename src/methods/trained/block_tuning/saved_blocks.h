#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "graph/tensor.h"
#include "methods/trained/block_tuning/tuned_part.h"
#include "quantize/insert_qdq.h"
#include "quantize/plan/plan.h"

namespace ounce::methods {

/// What tuning a unit has learned.
struct LearnedNumbers {
  std::map<size_t, Tensor> codes;               // by layer of the plan
  std::map<size_t, std::vector<float>> biases;  // likewise
  std::map<size_t, float> scales;               // by grid of the plan
};

/// Biases and scales are left as they were where a bias would not fit its accumulator.
LearnedNumbers learned_numbers(const Graph& prepared, const quantize::Plan& plan,
                               const quantize::Calibration& calibration, const TunedPart& part);

/// Puts them in the place of what was calibrated; biases of all layers that read a changed grid are
/// rounded anew. Throws `Error` for numbers of another plan.
void apply(const Graph& prepared, const quantize::Plan& plan, const LearnedNumbers& learned,
           quantize::Calibration& calibration);

/// The blocks that a run has tuned, kept in a file for one that goes on where it was stopped.
class SavedBlocks {
 public:
  /// Reads `path` if it is there and was left by a run of this `identity`. An empty path: nothing
  /// is kept. Throws `Error` for a damaged file.
  SavedBlocks(std::filesystem::path path, std::string identity);

  size_t blocks() const { return units_.size(); }
  const std::vector<LearnedNumbers>& units(size_t block) const { return units_[block]; }
  /// Adds a block and writes the file anew.
  void add_block(std::vector<LearnedNumbers> units);

 private:
  void read();
  void write() const;

  std::filesystem::path path_;
  std::string identity_;
  std::vector<std::vector<LearnedNumbers>> units_;  // by block
};

}  // namespace ounce::methods
