#include "train/random_mix.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "train/vector_clones.h"

namespace ounce::train {
namespace {

/// The numbers of SplitMix64 (Steele, Lea, Flood 2014): each is a function of its index alone, so
/// that a loop over them is one over vectors.
uint64_t mixed(uint64_t index) {
  uint64_t z = index * 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

OUNCE_VECTOR_CLONES
void fill(float* mask, int64_t words, uint64_t first, uint8_t threshold) {
  for (int64_t i = 0; i < words; ++i) {
    const auto bytes =
        std::bit_cast<std::array<uint8_t, 8>>(mixed(first + static_cast<uint64_t>(i)));
    for (size_t j = 0; j < bytes.size(); ++j) {
      mask[8 * i + static_cast<int64_t>(j)] = bytes[j] < threshold ? 1.0F : 0.0F;
    }
  }
}

}  // namespace

at::Tensor mixed_at_random(const at::Tensor& x, const at::Tensor& other, double share,
                           uint64_t& state) {
  constexpr double kSteps = 256;
  const auto threshold = static_cast<uint8_t>(std::min(kSteps - 1, std::round(share * kSteps)));
  const int64_t words = (x.numel() + 7) / 8;
  const at::Tensor mask = at::empty({8 * words}, at::kFloat);
  fill(mask.data_ptr<float>(), words, state, threshold);
  state += static_cast<uint64_t>(words);
  return at::addcmul(x, mask.narrow(0, 0, x.numel()).reshape(x.sizes()), other - x);
}

}  // namespace ounce::train
