#pragma once

#include "train/quantizers/round_to_grid.h"
#include "train/quantizers/scale.h"

namespace ounce::train {

/// Activation quantizers whose range follows the data of training batches until it is held, which
/// a schedule does towards the end: what is deployed is static. Whether it is held is saved: a run
/// that goes on from a checkpoint must know before its first batch.
class FollowsData : public Quantizer {
 public:
  void hold(bool held) { held_.set(held); }
  bool held() const { return held_.get(); }

 protected:
  NamedTensor held_buffer() const { return {"held", held_.tensor()}; }

 private:
  StateFlag held_;
};

struct RunningRangeOptions {
  int bits = 8;        // 2 .. 8
  Slices slices = {};  // a range each
  /// Signed codes around 0 for max|x|; else unsigned ones from min(x, 0) to max(x, 0).
  bool symmetric = false;
  double momentum = 0.99;  // share of the old range that stays at a new batch
};

/// Activations between running ends of the batches (TerViT's 8 bits): the first batch gives the
/// ends, each later one moves them by 1 - momentum of the way. Beyond the ends no gradient.
class RunningRange : public FollowsData {
 public:
  explicit RunningRange(const RunningRangeOptions& options);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<NamedTensor> buffers() override;
  Grid freeze(const at::Tensor& x) const override;

 private:
  void observe(const at::Tensor& x);
  at::Tensor scale() const;
  at::Tensor zero_point() const;  // undefined for symmetric ranges

  RunningRangeOptions options_;
  CodeRange codes_;
  Scale low_;  // all 0 of symmetric ranges
  Scale high_;
};

}  // namespace ounce::train
