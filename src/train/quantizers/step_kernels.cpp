#include "train/quantizers/step_kernels.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <vector>

// GCC keeps branches around comparisons that might raise a floating-point exception, which nobody
// asks for here, and does not vectorize loops with branches. (Clang takes it for granted.)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math")
#endif

namespace ounce::train {
namespace {

constexpr int64_t kShortestRun = 16;   // below, starting a run costs more than it
constexpr int64_t kChunk = 16384;      // elements; fixed, so that sums depend on no thread count
constexpr int64_t kTask = 2 * kChunk;  // elements worth a thread
constexpr int64_t kBlock = 256;        // elements whose terms are summed as a tree

/// A step and the codes, counted from the zero point.
struct Step {
  float scale;
  float lowest;
  float highest;

  float clamp(float steps) const {
    return steps < lowest ? lowest : (steps > highest ? highest : steps);
  }
};

/// code - zero point. Branches and library calls would keep the compiler from packed arithmetic.
template <Levels levels>
float code_of(float x, float clamped, const Step& step) {
  if constexpr (levels == Levels::kSigns) return x < 0.0F ? -1.0F : 1.0F;
  if constexpr (levels == Levels::kMap) return x > step.scale * 0.5F ? 1.0F : 0.0F;
  // Adding 1.5 * 2^23 leaves no bits for the fraction: the sum is rounded, ties to even.
  constexpr float kMagic = 12582912.0F;
  return (clamped + kMagic) - kMagic;
}

template <Levels levels>
void forward_run(const float* x, float* result, int64_t count, const Step& step) {
  for (int64_t i = 0; i < count; ++i) {
    result[i] = step.scale * code_of<levels>(x[i], step.clamp(x[i] / step.scale), step);
  }
}

struct Sums {
  double scale = 0.0;    // sum of G (code - steps in range)
  double outside = 0.0;  // sum of G beyond the range
};

using Terms = std::array<float, kBlock>;

/// Halves added to halves: packed, and with less rounding than a running sum.
float tree_sum(Terms& terms) {
  for (size_t half = kBlock / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) terms[i] += terms[i + half];
  }
  return terms[0];
}

template <Levels levels>
Sums backward_run(const float* x, const float* gradient, float* result, int64_t count,
                  const Step& step) {
  Sums sums;
  Terms scale;
  Terms outside;
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t size = std::min(kBlock, count - start);
    for (size_t i = static_cast<size_t>(size); i < kBlock; ++i) scale[i] = outside[i] = 0.0F;
    for (int64_t i = 0; i < size; ++i) {
      const float value = x[start + i];
      const float g = gradient[start + i];
      const float steps = value / step.scale;
      const float clamped = step.clamp(steps);
      const float inside =
          (steps >= step.lowest ? 1.0F : 0.0F) * (steps <= step.highest ? 1.0F : 0.0F);
      const auto slot = static_cast<size_t>(i);
      result[start + i] = inside * g;
      scale[slot] = g * (code_of<levels>(value, clamped, step) - inside * clamped);
      outside[slot] = g - inside * g;
    }
    sums.scale += tree_sum(scale);
    sums.outside += tree_sum(outside);
  }
  return sums;
}

/// The runs of elements that share a step, cut into chunks.
struct Chunks {
  int64_t slices;
  int64_t run;     // elements
  int64_t pieces;  // of a run
  int64_t count;

  Chunks(const at::Tensor& x, const Slices& parts) : slices(parts.count) {
    run = x.numel();
    if (slices > 1) {
      const int64_t axis = parts.axis < 0 ? parts.axis + x.dim() : parts.axis;
      run = 1;
      for (int64_t d = axis + 1; d < x.dim(); ++d) run *= x.size(d);
    }
    pieces = run == 0 ? 0 : (run + kChunk - 1) / kChunk;
    count = run == 0 ? 0 : x.numel() / run * pieces;
  }

  int64_t slice(int64_t chunk) const { return chunk / pieces % slices; }
  int64_t start(int64_t chunk) const { return chunk / pieces * run + chunk % pieces * kChunk; }
  int64_t size(int64_t chunk) const { return std::min(kChunk, run - chunk % pieces * kChunk); }

  /// `body(chunk)` for every chunk, on all threads.
  template <class Body>
  void for_each(const Body& body) const {
    const int64_t grain = std::max<int64_t>(1, kTask / std::max<int64_t>(1, std::min(run, kChunk)));
    at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk) body(chunk);
    });
  }
};

std::vector<Step> steps_of(const at::Tensor& scale, const at::Tensor& zero_point,
                           const StepGrid& grid) {
  const at::Tensor scales = scale.contiguous();
  const at::Tensor zeros = zero_point.defined() ? zero_point.contiguous() : zero_point;
  std::vector<Step> steps(static_cast<size_t>(grid.slices.count));
  for (size_t i = 0; i < steps.size(); ++i) {
    const float zero = zeros.defined() ? zeros.data_ptr<float>()[i] : 0.0F;
    steps[i] = {scales.data_ptr<float>()[i], static_cast<float>(grid.codes.lowest) - zero,
                static_cast<float>(grid.codes.highest) - zero};
  }
  return steps;
}

/// `body` with the levels as a constant: std::integral_constant<Levels, ...>.
template <class Body>
void with_levels(Levels levels, const Body& body) {
  switch (levels) {
    case Levels::kAffine:
      body(std::integral_constant<Levels, Levels::kAffine>());
      break;
    case Levels::kSigns:
      body(std::integral_constant<Levels, Levels::kSigns>());
      break;
    case Levels::kMap:
      body(std::integral_constant<Levels, Levels::kMap>());
      break;
  }
}

}  // namespace

bool fits_step_kernels(const at::Tensor& x, const at::Tensor& scale, const Slices& slices) {
  if (!x.is_cpu() || x.scalar_type() != at::kFloat || !scale.is_cpu() ||
      scale.scalar_type() != at::kFloat) {
    return false;
  }
  if (slices.count == 1) return x.is_non_overlapping_and_dense();
  return x.is_contiguous() && Chunks(x, slices).run >= kShortestRun;
}

at::Tensor step_forward(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                        const StepGrid& grid) {
  at::Tensor result = at::empty_like(x);
  const std::vector<Step> steps = steps_of(scale, zero_point, grid);
  const Chunks chunks(x, grid.slices);
  const auto* from = x.data_ptr<float>();
  auto* to = result.data_ptr<float>();
  with_levels(grid.levels, [&](auto levels) {
    chunks.for_each([&](int64_t chunk) {
      const int64_t start = chunks.start(chunk);
      forward_run<levels()>(from + start, to + start, chunks.size(chunk),
                            steps[static_cast<size_t>(chunks.slice(chunk))]);
    });
  });
  return result;
}

StepGradients step_backward(const at::Tensor& x, const at::Tensor& gradient,
                            const at::Tensor& scale, const at::Tensor& zero_point,
                            const StepGrid& grid) {
  // Elements pair up by their place in memory.
  const at::Tensor paired =
      gradient.strides() == x.strides() ? gradient : at::empty_like(x).copy_(gradient);
  at::Tensor result = at::empty_like(x);
  const std::vector<Step> steps = steps_of(scale, zero_point, grid);
  const Chunks chunks(x, grid.slices);
  std::vector<Sums> partial(static_cast<size_t>(chunks.count));
  const auto* values = x.data_ptr<float>();
  const auto* from = paired.data_ptr<float>();
  auto* to = result.data_ptr<float>();
  with_levels(grid.levels, [&](auto levels) {
    chunks.for_each([&](int64_t chunk) {
      const int64_t start = chunks.start(chunk);
      partial[static_cast<size_t>(chunk)] =
          backward_run<levels()>(values + start, from + start, to + start, chunks.size(chunk),
                                 steps[static_cast<size_t>(chunks.slice(chunk))]);
    });
  });
  std::vector<Sums> sums(steps.size());
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    Sums& sum = sums[static_cast<size_t>(chunks.slice(chunk))];
    sum.scale += partial[static_cast<size_t>(chunk)].scale;
    sum.outside += partial[static_cast<size_t>(chunk)].outside;
  }
  StepGradients gradients = {result, at::empty_like(scale), at::empty_like(scale)};
  for (size_t i = 0; i < sums.size(); ++i) {
    gradients.scale.data_ptr<float>()[i] = static_cast<float>(sums[i].scale * grid.gradient_scale);
    gradients.zero_point.data_ptr<float>()[i] =
        static_cast<float>(-sums[i].outside * steps[i].scale * grid.gradient_scale);
  }
  return gradients;
}

}  // namespace ounce::train
