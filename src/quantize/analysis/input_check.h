#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quantize/source.h"

namespace ounce::quantize {

/// How much the calibration inputs differ, within one and from one to the next.
struct InputVariety {
  int64_t inputs = 0;      // that were looked at
  int64_t compared = 0;    // of them, as large as the first: what `between` is about
  double magnitude = 0.0;  // root of the mean square of all elements
  double within = 0.0;     // mean over inputs and channels of the deviation over pixels
  double between = 0.0;    // deviation of an element from input to input, mean over elements
};

/// Looks at the first f32 tensor of up to `most` inputs. Images [pictures, channels, height, width]
/// are taken channel by channel, so that a picture of one colour has no variety; others as a whole.
/// Inputs of other shapes than the first are left out of `between`.
InputVariety input_variety(InputSource& source, int64_t most = 32);

/// One line for each thing that makes inputs useless to calibrate on, with the figure that shows
/// it: inputs without content (all black), inputs that are all alike. Empty when there is none.
std::vector<std::string> doubts_about(const InputVariety& variety);

}  // namespace ounce::quantize
