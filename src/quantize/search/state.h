#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quantize/search/table.h"

namespace ounce::quantize::search {

/// What a whole model was measured to be, against the float model on the same inputs.
struct Verdict {
  double metric = 0.0;  // 0 .. 1
  double drop = 0.0;    // points (hundredths of the metric) below the float model; < 0: above
  double loss = 0.0;    // mean divergence of its outputs
  int64_t bytes = 0;    // of its .ounce file
  double ms = 0.0;      // median latency
};

/// One assignment that was tried.
struct Trial {
  std::string kind;  // "uniform W8A8", "curve", "refined"
  std::string goal;  // it was tried for, as `name_of` has it
  Assignment assignment;
  Verdict verdict;
};

/// Everything a search has measured, so that it can go on from there: what is in here is never
/// measured again.
struct State {
  std::string fingerprint;  // of all that measurements depend on
  Verdict exact;            // of the float model
  double float_ms = 0.0;    // of its steps, summed
  std::vector<Unit> units;
  std::vector<Trial> trials;  // in order

  const Trial* find(const Assignment& assignment) const;
};

/// JSON of a state, and back. `from_json` throws `Error` with `file` and what is wrong where text
/// is no state of this version or contradicts itself.
std::string to_json(const State& state);
State from_json(const std::string& text, const std::string& file);

}  // namespace ounce::quantize::search
