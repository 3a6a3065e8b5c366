#pragma once

#include <vector>

#include "graph/graph.h"
#include "methods/picture_goals.h"
#include "quantize/source.h"

/// Pictures made by gradient from a trained network, for those who may not use any.
namespace ounce::methods {

/// The goals that suit a network: SARDFQ's for one with attention between patches,
/// BatchNormalization statistics for one that has them. Throws `Error` saying what was looked for
/// when it has neither.
PictureGoals goals_for(const Graph& graph);

/// Makes pictures, each [1, 3, height, width] as the network takes them, by Adam (betas 0.5 and
/// 0.9, warm-up over a tenth of the steps, then cosine) from Gaussian noise. The network needs one
/// input of pictures, of a size that is known; classes are the columns of an output [pictures,
/// classes], without which nothing is asked of them. A network of a fixed number of pictures is run
/// several times. Throws `Error` when goals ask for what the network has not, `Interrupted`.
std::vector<Tensor> synthesize(const Graph& graph, const SynthesisOptions& options,
                               const quantize::Progress& progress);

}  // namespace ounce::methods
