#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace ounce::train {

/// A tensor of a module or quantizer that is saved, restored, and, if it is a parameter, learned.
/// The tensor is a handle: reading and writing through it reaches the owner's.
struct NamedTensor {
  std::string name;
  at::Tensor tensor;
  double rate = 1;  // learning rate over that of the others of its kind
};

/// Codes on an affine grid: x = scale * (code - zero_point), code in [lowest, highest].
struct AffineGrid {
  at::Tensor scale;       // one element, or one for each slice along `axis`
  at::Tensor zero_point;  // integers in the shape of `scale`
  int64_t axis = 0;       // of no meaning where the scale has one element
  int64_t lowest = 0;
  int64_t highest = 0;
};

/// One bit: scale * sign(x) with sign(0) = +1, or, of a map, scale * (x > scale / 2).
struct SignGrid {
  at::Tensor scale;  // as in AffineGrid
  int64_t axis = 0;
  bool is_map = false;
};

using Grid = std::variant<AffineGrid, SignGrid>;

/// Trainable rounding of one value of a graph: what a FakeQuant node computes.
///
/// Forward gives exactly what the deployed graph will compute from its codes; backward is the
/// surrogate that the quantizer's paper defines. Not thread-safe.
class Quantizer {
 public:
  virtual ~Quantizer() = default;

  /// Rounds `x` to the grid. The first call while `training` sets up what depends on data (steps,
  /// zero points, whether codes are signed).
  virtual at::Tensor fake_quant(const at::Tensor& x, bool training) = 0;

  /// Learned with the network: leaves that require gradients. Complete before the first call of
  /// `fake_quant`, shapes included, so that optimizers may be made at once.
  virtual std::vector<NamedTensor> parameters() { return {}; }

  /// State that is saved but not learned (flags, running ranges). Handles are written in place.
  virtual std::vector<NamedTensor> buffers() { return {}; }

  /// A term of the loss for the last value seen (a reconstruction error); undefined when there is
  /// none.
  virtual at::Tensor penalty() { return {}; }

  /// Told before training how many batches add up to one step of the optimizer: accumulated ones
  /// times ranks. What depends on the number of elements counts those of all.
  virtual void set_batches_per_step(int64_t /*count*/) {}

  /// Called after every step of the optimizer: keep scales positive, follow flips of signs.
  virtual void after_step() {}

  /// The grid of the deployed graph. `x`: the value when it is a weight, undefined for activations.
  /// Throws `Error` when data was needed and none was seen.
  virtual Grid freeze(const at::Tensor& x) const = 0;
};

/// Quantizers by the name of their FakeQuant node.
using Quantizers = std::map<std::string, std::shared_ptr<Quantizer>>;

}  // namespace ounce::train
