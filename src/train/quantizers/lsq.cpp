#include "train/quantizers/lsq.h"

#include <cmath>

#include "graph/error.h"
#include "train/distributed.h"

namespace ounce::train {
namespace {

/// 2 mean|x| / sqrt(highest); of nothing but zeros any step will do.
at::Tensor first_step(const at::Tensor& mean_magnitude, const CodeRange& codes) {
  const at::Tensor step = mean_magnitude * (2.0 / std::sqrt(static_cast<double>(codes.highest)));
  return step.masked_fill(step.lt(kLeastStep), 1.0);
}

at::Tensor first_weight_step(const at::Tensor& x, const CodeRange& codes, int64_t count) {
  return first_step(x.detach().abs().mean().reshape({1}), codes).expand({count});
}

}  // namespace

bool has_negatives(const at::Tensor& x) {
  const at::Tensor least = x.detach().min();
  world().all_reduce(least, Reduction::kLeast);
  return least.item<double>() < -1e-5;
}

LsqWeight::LsqWeight(const LsqOptions& options)
    : codes_(signed_codes(options.bits)), step_(options.slices, Scale::Kind::kLearned) {
  if (options.learn_zero_point) throw Error("codes of weights have no zero point");
}

at::Tensor LsqWeight::fake_quant(const at::Tensor& x, bool /*training*/) {
  if (!step_.ready()) step_.set(first_weight_step(x, codes_, step_.slices().count));
  return round_to_grid(x, step_.tensor(),
                       {.slices = step_.slices(),
                        .codes = codes_,
                        .gradient_scale = lsq_gradient_scale(x.numel(), codes_)});
}

Grid LsqWeight::freeze(const at::Tensor& x) const {
  const at::Tensor step =
      step_.ready() ? step_.frozen() : first_weight_step(x, codes_, step_.slices().count).clone();
  return grid_around_zero(step, step_.slices(), codes_);
}

LsqActivation::LsqActivation(const LsqOptions& options)
    : bits_(options.bits), step_(options.slices, Scale::Kind::kLearned) {
  unsigned_codes(bits_);  // throws for impossible bits
  if (options.learn_zero_point) {
    zero_point_ = at::zeros({options.slices.count}).requires_grad_(true);
  }
}

void LsqActivation::set_up(const at::Tensor& x) {
  const at::NoGradGuard no_grad;
  is_signed_.set(has_negatives(x));
  const at::Tensor magnitude = mean_of_slices(x.abs(), step_.slices());
  world().average({magnitude});
  const at::Tensor step = first_step(magnitude, codes());
  step_.set(step);
  if (!zero_point_.defined()) return;
  const at::Tensor least = least_of_slices(x, step_.slices());
  world().all_reduce(least, Reduction::kLeast);
  zero_point_.copy_((least - step * codes().lowest) * 0.1);
  zero_point_.clamp_(codes().lowest, codes().highest);
}

at::Tensor LsqActivation::fake_quant(const at::Tensor& x, bool training) {
  if (!step_.ready() && training) set_up(x);
  step_.require_ready();
  return round_to_grid(x, step_.tensor(),
                       {.slices = step_.slices(),
                        .codes = codes(),
                        .gradient_scale = lsq_gradient_scale(x.numel() * batches_, codes())},
                       zero_point_);
}

std::vector<NamedTensor> LsqActivation::parameters() {
  std::vector<NamedTensor> result = {{"step", step_.tensor()}};
  if (zero_point_.defined()) result.push_back({"zero_point", zero_point_});
  return result;
}

std::vector<NamedTensor> LsqActivation::buffers() {
  return {{"ready", step_.ready_flag()}, {"is_signed", is_signed_.tensor()}};
}

void LsqActivation::after_step() {
  step_.keep_above(kLeastStep);
  if (!zero_point_.defined() || !step_.ready()) return;
  const at::NoGradGuard no_grad;
  zero_point_.clamp_(codes().lowest, codes().highest);
}

Grid LsqActivation::freeze(const at::Tensor& /*x*/) const {
  AffineGrid grid = grid_around_zero(step_.frozen(), step_.slices(), codes());
  if (zero_point_.defined())
    grid.zero_point = integer_zero_point(zero_point_, codes()).to(at::kLong);
  return grid;
}

}  // namespace ounce::train
