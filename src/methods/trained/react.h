#pragma once

#include <memory>

#include "methods/trained/method.h"

namespace ounce::methods {

/// The first stage of binary networks (ReActNet, Liu et al. 2020, arXiv 2003.03488): signs go into
/// every binary convolution, its weights stay float. Key of a stage: `ends` (see
/// methods/trained/binary_network.h, which also says which layers).
std::unique_ptr<TrainedMethod> read_react(Settings& stage);

}  // namespace ounce::methods
