#include "train/quantizers/straight_through.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "train/layout.h"
#include "train/vector_clones.h"

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Tensor operators take two to six passes over memory for what follows; loops over f32 values in
// the memory of the CPU take one.

bool fits_loops(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_non_overlapping_and_dense();
}

/// A call of std::abs would keep the compiler from packed arithmetic.
float magnitude(float x) {
  return x < 0.0F ? -x : x;
}

constexpr int64_t kGrain = 32768;  // elements worth a thread

template <class Function>
OUNCE_VECTOR_CLONES void each_of_run(const float* from, float* to, int64_t count,
                                     const Function& f) {
  for (int64_t i = 0; i < count; ++i) to[i] = f(from[i]);
}

template <class Function>
OUNCE_VECTOR_CLONES void slopes_of_run(const float* from, const float* above, float* to,
                                       int64_t count, const Function& slope) {
  for (int64_t i = 0; i < count; ++i) to[i] = above[i] * slope(from[i]);
}

/// `f(x)` of each element.
template <class Function>
at::Tensor each(const at::Tensor& x, const Function& f) {
  at::Tensor result = at::empty_like(x);
  const float* from = x.data_ptr<float>();
  float* to = result.data_ptr<float>();
  at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    each_of_run(from + begin, to + begin, end - begin, f);
  });
  return result;
}

/// `gradient * slope(x)` of each pair; both in one layout.
template <class Function>
at::Tensor each_slope(const at::Tensor& x, const at::Tensor& gradient, const Function& slope) {
  const at::Tensor paired = in_layout_of(x, gradient);
  at::Tensor result = at::empty_like(x);
  const float* from = x.data_ptr<float>();
  const float* above = paired.data_ptr<float>();
  float* to = result.data_ptr<float>();
  at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    slopes_of_run(from + begin, above + begin, to + begin, end - begin, slope);
  });
  return result;
}

at::Tensor slope_by_loops(const at::Tensor& x, const at::Tensor& gradient, Slope slope,
                          float limit) {
  switch (slope) {
    case Slope::kClip:
      return each_slope(x, gradient,
                        [limit](float v) { return magnitude(v) <= limit ? 1.0F : 0.0F; });
    case Slope::kOpenWindow:
      return each_slope(x, gradient,
                        [limit](float v) { return magnitude(v) < limit ? 1.0F : 0.0F; });
    case Slope::kPolynomial:
      break;
  }
  return each_slope(x, gradient, [](float v) {
    const float rest = 1.0F - magnitude(v);
    return rest > 0.0F ? 2.0F * rest : 0.0F;
  });
}

class StraightThrough : public torch::autograd::Function<StraightThrough> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& value,
                            Slope slope, double limit) {
    context->save_for_backward({x});
    context->saved_data["slope"] = static_cast<int64_t>(slope);
    context->saved_data["limit"] = limit;
    // A view: what comes back must not be the argument itself.
    return value.detach();
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor x = context->get_saved_variables()[0];
    const double limit = context->saved_data["limit"].toDouble();
    const auto slope = static_cast<Slope>(context->saved_data["slope"].toInt());
    if (fits_loops(x) && gradients[0].is_cpu() && gradients[0].scalar_type() == at::kFloat) {
      return {slope_by_loops(x, gradients[0], slope, static_cast<float>(limit)), {}, {}, {}};
    }
    at::Tensor result;
    switch (slope) {
      case Slope::kClip:
        result = gradients[0].masked_fill(x.abs().gt(limit), 0);
        break;
      case Slope::kOpenWindow:
        result = gradients[0].masked_fill(x.abs().ge(limit), 0);
        break;
      // Both halves at once: 2 - 2|x| where it is positive. At x = -1 both give 0.
      case Slope::kPolynomial:
        result = x.abs().neg_().add_(1).clamp_min_(0).mul_(2).mul_(gradients[0]);
        break;
    }
    return {result, {}, {}, {}};
  }
};

}  // namespace

at::Tensor signs_of(const at::Tensor& x) {
  if (fits_loops(x) && !x.requires_grad()) {
    return each(x, [](float v) { return v < 0.0F ? -1.0F : 1.0F; });
  }
  const at::Tensor one = at::ones({}, x.options());
  return at::where(x.lt(0), -one, one);
}

at::Tensor straight_through(const at::Tensor& x, const at::Tensor& value, Slope slope,
                            double limit) {
  return StraightThrough::apply(x, value, slope, limit);
}

}  // namespace ounce::train
