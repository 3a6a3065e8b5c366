#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "train/quantizer.h"
#include "train/quantizers/slices.h"

namespace ounce::train {

/// A saved flag that is read at every step: a copy on the host spares waiting for the device.
class StateFlag {
 public:
  StateFlag();
  bool get() const;
  void set(bool value);
  /// One bool; writing through it is seen by `get`.
  const at::Tensor& tensor() const { return tensor_; }

 private:
  at::Tensor tensor_;
  mutable int64_t version_ = -1;  // of the tensor when `value_` was read
  mutable bool value_ = false;
};

/// Numbers, one a slice, that data sets up at the first batch: steps, amplitudes, ranges.
class Scale {
 public:
  enum class Kind { kLearned, kState };

  Scale(const Slices& slices, Kind kind);

  /// Whether data was seen (or the state of a run that has seen some was restored).
  bool ready() const { return ready_.get(); }
  /// Writes the numbers in place; `values` [count].
  void set(const at::Tensor& values);
  const at::Tensor& tensor() const { return tensor_; }
  const at::Tensor& ready_flag() const { return ready_.tensor(); }
  const Slices& slices() const { return slices_; }

  /// What a frozen grid holds: a copy without gradients. Throws `Error` before any data.
  at::Tensor frozen() const;
  /// The same check for `fake_quant` outside training.
  void require_ready() const;
  /// At least `least` each.
  void keep_above(double least);

 private:
  Slices slices_;
  at::Tensor tensor_;
  StateFlag ready_;
};

/// Below it a step is no step: x / step would overflow.
inline constexpr double kLeastStep = 1e-8;

}  // namespace ounce::train
