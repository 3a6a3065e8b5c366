#include "train/quantizers/sign_activation.h"

#include "train/distributed.h"

namespace ounce::train {
namespace {

/// Far above the rounding of a sum of hundreds of terms, far below one term.
constexpr double kZeroShare = 1e-4;

}  // namespace

at::Tensor SignActivation::fake_quant(const at::Tensor& x, bool /*training*/) {
  at::Tensor sums = x.detach();
  if (input_ == Input::kSumsOfSigns && sums.numel() > 0)
    sums = sums + sums.abs().max() * kZeroShare;
  return straight_through(x, signs_of(sums), slope_);
}

Grid SignActivation::freeze(const at::Tensor& /*x*/) const {
  return SignGrid{at::ones({1})};
}

LearnedBinarizer::LearnedBinarizer(const LearnedBinarizerOptions& options)
    : options_(options), scale_(options.heads, Scale::Kind::kLearned) {}

at::Tensor LearnedBinarizer::fake_quant(const at::Tensor& x, bool training) {
  if (training && !scale_.ready()) {
    const at::Tensor magnitude = mean_of_slices(x.detach().abs(), options_.heads);
    world().average({magnitude});
    scale_.set((magnitude * 2).clamp_min_(kLeastScale));
  }
  scale_.require_ready();
  const CodeRange codes = {options_.is_map ? 0 : -1, 1};
  return round_to_grid(x, scale_.tensor(),
                       {.levels = options_.is_map ? Levels::kMap : Levels::kSigns,
                        .slices = options_.heads,
                        .codes = codes,
                        .gradient_scale = lsq_gradient_scale(x.numel() * batches_, codes)});
}

Grid LearnedBinarizer::freeze(const at::Tensor& /*x*/) const {
  return SignGrid{scale_.frozen(), options_.heads.axis, options_.is_map};
}

}  // namespace ounce::train
