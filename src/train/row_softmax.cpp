#include "train/row_softmax.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>

#include "train/vector_clones.h"

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kLanes = 16;     // running sums of a row
constexpr int64_t kGrain = 16384;  // elements worth a thread

/// exp(x) for x <= 0, as 2^n exp(r) with |r| <= ln(2) / 2 and a polynomial; 0 below the normal
/// numbers.
inline float exp_of_negative(float x) {
  constexpr float kLeast = -87.33F;
  constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23: adding it rounds
  const float bounded = x > kLeast ? x : kLeast;
  const float n = (bounded * 1.44269504F + kMagic) - kMagic;
  const float r = (bounded - n * 0.693359375F) - n * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  // std::bit_cast has other options than this file's: it would be called.
  const float power = __builtin_bit_cast(float, (static_cast<int32_t>(n) + 127) << 23);
  const float value = x < kLeast ? 0.0F : p * power;
  return x == x ? value : x;  // NaN stays
}

OUNCE_VECTOR_CLONES void softmax_rows(const float* x, float* y, int64_t rows, int64_t count) {
  const int64_t packed = count / kLanes * kLanes;
  for (int64_t row = 0; row < rows; ++row, x += count, y += count) {
    float lanes[kLanes];
    for (float& lane : lanes) lane = x[0];
    for (int64_t i = 0; i < packed; i += kLanes) {
      for (int64_t l = 0; l < kLanes; ++l) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    }
    float most = x[0];
    for (const float lane : lanes) most = lane > most ? lane : most;
    for (int64_t i = packed; i < count; ++i) most = x[i] > most ? x[i] : most;
    for (int64_t i = 0; i < count; ++i) y[i] = exp_of_negative(x[i] - most);
    for (float& lane : lanes) lane = 0.0F;
    for (int64_t i = 0; i < packed; i += kLanes) {
      for (int64_t l = 0; l < kLanes; ++l) lanes[l] += y[i + l];
    }
    float sum = 0.0F;
    for (const float lane : lanes) sum += lane;
    for (int64_t i = packed; i < count; ++i) sum += y[i];
    const float factor = 1.0F / sum;
    for (int64_t i = 0; i < count; ++i) y[i] *= factor;
  }
}

class RowSoftmax : public torch::autograd::Function<RowSoftmax> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    const at::Tensor dense = x.contiguous();
    at::Tensor y = at::empty_like(dense);
    const int64_t count = x.size(-1);
    const auto* from = dense.data_ptr<float>();
    auto* to = y.data_ptr<float>();
    const int64_t grain = std::max<int64_t>(1, kGrain / count);
    at::parallel_for(0, x.numel() / count, grain, [&](int64_t begin, int64_t end) {
      softmax_rows(from + begin * count, to + begin * count, end - begin, count);
    });
    context->save_for_backward({y});
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {at::_softmax_backward_data(gradients[0], context->get_saved_variables()[0], -1,
                                       at::kFloat)};
  }
};

}  // namespace

at::Tensor row_softmax(const at::Tensor& x) {
  const bool takes = x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() >= 1 && x.numel() > 0;
  return takes ? RowSoftmax::apply(x) : at::softmax(x, -1);
}

}  // namespace ounce::train
