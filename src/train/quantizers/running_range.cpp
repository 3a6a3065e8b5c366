#include "train/quantizers/running_range.h"

#include "train/distributed.h"
#include "train/quantizers/symmetric.h"

namespace ounce::train {

RunningRange::RunningRange(const RunningRangeOptions& options)
    : options_(options),
      codes_(options.symmetric ? signed_codes(options.bits) : unsigned_codes(options.bits)),
      low_(options.slices, Scale::Kind::kState),
      high_(options.slices, Scale::Kind::kState) {}

void RunningRange::observe(const at::Tensor& x) {
  const at::NoGradGuard no_grad;
  auto [low, high] = ends_of_slices(x, options_.slices);
  world().all_reduce(low, Reduction::kLeast);
  world().all_reduce(high, Reduction::kLargest);
  low = low.clamp_max(0);
  high = high.clamp_min(0);
  if (options_.symmetric) {
    high = at::maximum(high, low.neg());
    low = at::zeros_like(high);
  }
  const double kept = high_.ready() ? options_.momentum : 0.0;
  low_.set(low_.tensor() * kept + low * (1.0 - kept));
  high_.set(high_.tensor() * kept + high * (1.0 - kept));
}

at::Tensor RunningRange::scale() const {
  return scale_to_hold(high_.tensor() - low_.tensor(), codes_.highest);
}

at::Tensor RunningRange::zero_point() const {
  return options_.symmetric ? at::Tensor() : (low_.tensor().neg() / scale()).round_();
}

at::Tensor RunningRange::fake_quant(const at::Tensor& x, bool training) {
  if (training && !(held() && high_.ready())) observe(x);
  high_.require_ready();
  return round_to_grid(x, scale(), {.slices = options_.slices, .codes = codes_}, zero_point());
}

std::vector<NamedTensor> RunningRange::buffers() {
  return {{"low", low_.tensor()},
          {"high", high_.tensor()},
          {"ready", high_.ready_flag()},
          held_buffer()};
}

Grid RunningRange::freeze(const at::Tensor& /*x*/) const {
  high_.require_ready();
  AffineGrid grid = grid_around_zero(scale(), options_.slices, codes_);
  if (!options_.symmetric) grid.zero_point = integer_zero_point(zero_point(), codes_).to(at::kLong);
  return grid;
}

}  // namespace ounce::train
