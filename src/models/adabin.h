#pragma once

#include <map>
#include <string>

#include "graph/graph.h"

namespace ounce::models {

/// ResNet-20 for CIFAR-10 with one bit for weights and activations (AdaBin, Tu et al. 2022, arXiv
/// 2208.08084) from the tensors of its checkpoint, named as PyTorch does. Both have two values that
/// are not opposite:
///   activations  alpha * (sign((x - beta) / alpha) + beta), alpha and beta learned for each layer
///   weights      sigma * sign(w - mu) + mu, with mean and deviation of each output channel
/// BatchNormalization is folded; first and last layer are f32. Throws `Error` naming the tensor
/// that is missing or has another shape.
Graph adabin_resnet20(const std::map<std::string, Tensor>& checkpoint);

}  // namespace ounce::models
