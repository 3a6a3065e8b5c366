#include "engine/ops/pack_bits.h"

#include <cmath>
#include <limits>
#include <optional>

#include "engine/kernels/bits/bit_planes.h"
#include "engine/ops/factories.h"

// Activations become bits.
namespace ounce::engine {
namespace {

/// Where codes become numbers below zero: see pack_code_signs.
struct CodeSigns {
  /// Of dequantized codes, plus `shift` where there is one, as kernels compute them.
  CodeSigns(const AttributeMap& attributes, int64_t channels, const std::vector<float>& shift)
      : limits(static_cast<size_t>(round_up(channels, 64))),
        flips(static_cast<size_t>(BitFormat::plane_words(channels))) {
    const float scale = attributes.get_float("code_scale", 1.0F);
    const auto zero_point = static_cast<int32_t>(attributes.get_int("code_zero_point", 0));
    for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
      const auto is_negative = [&](int32_t code) {
        const float x = static_cast<float>(code - zero_point) * scale;
        return (shift.empty() ? x : x + shift[c]) < 0.0F;
      };
      int32_t limit = 0;
      while (limit < 256 && is_negative(limit)) ++limit;
      if (limit == 256) flips[c / 64] |= uint64_t{1} << (c % 64);
      limits[c] = static_cast<uint8_t>(limit);  // none is below 0, which 256 becomes
    }
  }
  std::vector<uint8_t> limits;
  std::vector<uint64_t> flips;
};

class PackBitsStep final : public Step {
 public:
  explicit PackBitsStep(const StepRequest& request) : node_(request.node) {
    const Shape x = request.shape(node_.input(0));
    channels_ = x.back();
    rows_ = channels_ == 0 ? 0 : element_count(x) / channels_;
    words_ = BitFormat::plane_words(channels_);
    is_map_ = node_.attributes.get_int("is_map", 0) != 0;
    if (is_map_) {
      shift_.assign(static_cast<size_t>(channels_),
                    map_shift(node_.attributes.get_float("x_scale", 1.0F)));
    }
    if (const Tensor* shift = node_.attributes.get_tensor("x_shift")) shift_ = shift->to_f32();
    if (request.dtype(node_.input(0)) == DType::u8) {
      codes_.emplace(node_.attributes, channels_, shift_);
    }
  }

  void run(const RunContext& context) override {
    auto* bits = context.at<uint64_t>(node_.output(0));
    if (codes_) {
      pack_code_signs(context.kernels, context.at<const uint8_t>(node_.input(0)), rows_, channels_,
                      codes_->limits.data(), codes_->flips.data(), bits);
    } else {
      pack_signs(context.kernels, context.at<const float>(node_.input(0)), channels_, rows_,
                 channels_, shift_.empty() ? nullptr : shift_.data(), words_, bits);
    }
    if (is_map_) invert_bits(bits, rows_, channels_);
  }
  std::string_view kernel() const override { return codes_ ? "pack_code_signs" : "pack_signs"; }

 private:
  Node node_;
  int64_t rows_ = 0, channels_ = 0, words_ = 0;
  bool is_map_ = false;
  std::vector<float> shift_;        // one a channel, or empty
  std::optional<CodeSigns> codes_;  // where the input is codes
};

}  // namespace

float map_shift(float scale) {
  // The least number of a 1. Below it, the difference is negative without rounding.
  return -std::nextafter(scale / 2.0F, std::numeric_limits<float>::infinity());
}

void invert_bits(uint64_t* bits, int64_t rows, int64_t channels) {
  const int64_t words = BitFormat::plane_words(channels);
  const int64_t rest = channels % 64;
  const uint64_t last = rest == 0 ? ~uint64_t{0} : (uint64_t{1} << rest) - 1;
  for (int64_t row = 0; row < rows; ++row, bits += words) {
    for (int64_t word = 0; word < words; ++word) bits[word] = ~bits[word];
    bits[words - 1] &= last;
  }
}

std::unique_ptr<Step> make_pack_bits(const StepRequest& request) {
  return std::make_unique<PackBitsStep>(request);
}

}  // namespace ounce::engine
