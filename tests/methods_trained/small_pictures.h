#pragma once

#include "train/image_set.h"

namespace ounce::testing {

/// 16x16 pictures of bars on noise: class 0 horizontal, 1 vertical, 2 and 3 the diagonals.
inline train::ImageSet small_pictures(int64_t count, int64_t seed) {
  at::Generator random = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  const at::Tensor labels = at::randint(0, 4, {count}, random, at::kLong);
  const at::Tensor offset = at::randint(0, 4, {count}, random, at::kLong);
  const at::Tensor y = at::arange(16).view({1, 16, 1});
  const at::Tensor x = at::arange(16).view({1, 1, 16});
  const at::Tensor label = labels.view({-1, 1, 1});
  const at::Tensor along = at::where(
      label == 0, y.expand({count, 16, 16}),
      at::where(label == 1, x.expand({count, 16, 16}), at::where(label == 2, x + y, x - y + 16)));
  const at::Tensor bars = ((along + offset.view({-1, 1, 1})) % 4 < 2).to(at::kFloat) * 120;
  const at::Tensor noise = at::rand({count, 3, 16, 16}, random) * 130;
  return {(bars.unsqueeze(1) + noise).to(at::kByte), labels, {"rows", "columns", "up", "down"}};
}

}  // namespace ounce::testing
