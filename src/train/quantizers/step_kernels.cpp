#include "train/quantizers/step_kernels.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <vector>

#include "train/layout.h"
#include "train/vector_clones.h"

namespace ounce::train {
namespace {

constexpr int64_t kShortestRun = 16;   // below, starting a run costs more than its elements
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

/// Steps of consecutive elements: one for all, or one each.
struct SharedStep {
  Step step;
  // By value: the compiler takes what a reference names for something that results may overwrite.
  Step operator[](int64_t /*i*/) const { return step; }
};
struct StepRow {
  const float* scale;
  const float* lowest;
  const float* highest;
  Step operator[](int64_t i) const { return {scale[i], lowest[i], highest[i]}; }
};

template <Levels levels, class Steps>
OUNCE_VECTOR_CLONES void forward_run(const float* x, float* result, int64_t count, Steps steps) {
  for (int64_t i = 0; i < count; ++i) {
    const Step step = steps[i];
    result[i] = step.scale * code_of<levels>(x[i], step.clamp(x[i] / step.scale), step);
  }
}

/// What one element adds to the gradients.
struct Term {
  float x;
  float scale;    // G (code - steps in range)
  float outside;  // G beyond the range
};

template <Levels levels>
Term term_of(float x, float gradient, const Step& step) {
  const float steps = x / step.scale;
  const float clamped = step.clamp(steps);
  const float inside = (steps >= step.lowest ? 1.0F : 0.0F) * (steps <= step.highest ? 1.0F : 0.0F);
  return {inside * gradient, gradient * (code_of<levels>(x, clamped, step) - inside * clamped),
          gradient - inside * gradient};
}

struct Sums {
  double scale = 0.0;
  double outside = 0.0;
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
OUNCE_VECTOR_CLONES Sums backward_run(const float* x, const float* gradient, float* result,
                                      int64_t count, Step step) {
  Sums sums;
  Terms scale;
  Terms outside;
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t size = std::min(kBlock, count - start);
    for (size_t i = static_cast<size_t>(size); i < kBlock; ++i) scale[i] = outside[i] = 0.0F;
    for (int64_t i = 0; i < size; ++i) {
      const Term term = term_of<levels>(x[start + i], gradient[start + i], step);
      result[start + i] = term.x;
      scale[static_cast<size_t>(i)] = term.scale;
      outside[static_cast<size_t>(i)] = term.outside;
    }
    sums.scale += tree_sum(scale);
    sums.outside += tree_sum(outside);
  }
  return sums;
}

/// A row of elements with a step each; adds to one sum each. Told apart (`__restrict`) because
/// nine pointers are too many for the compiler to compare before it vectorizes.
template <Levels levels>
OUNCE_VECTOR_CLONES void backward_row(const float* x, const float* gradient,
                                      float* __restrict result, int64_t count, StepRow steps,
                                      float* __restrict scale, float* __restrict outside) {
  for (int64_t i = 0; i < count; ++i) {
    const Term term = term_of<levels>(x[i], gradient[i], steps[i]);
    result[i] = term.x;
    scale[i] += term.scale;
    outside[i] += term.outside;
  }
}

/// `body(chunk)` for every chunk of about `size` elements, on all threads.
template <class Body>
void for_each_chunk(int64_t count, int64_t size, const Body& body) {
  const int64_t grain = std::max<int64_t>(1, kTask / std::max<int64_t>(1, size));
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) body(chunk);
  });
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
};

/// Rows of elements with a step each (the slices lie along the last axis), in chunks of some rows.
struct RowChunks {
  int64_t slices;
  int64_t rows;
  int64_t rows_of_chunk;
  int64_t count;

  RowChunks(const at::Tensor& x, const Slices& parts)
      : slices(parts.count),
        rows(x.numel() / slices),
        rows_of_chunk(std::max<int64_t>(1, kChunk / slices)),
        count((rows + rows_of_chunk - 1) / rows_of_chunk) {}

  /// `body(offset)` for each row of a chunk.
  template <class Body>
  void for_each_row(int64_t chunk, const Body& body) const {
    const int64_t end = std::min(rows, (chunk + 1) * rows_of_chunk);
    for (int64_t row = chunk * rows_of_chunk; row < end; ++row) body(row * slices);
  }
};

bool lie_in_rows(const at::Tensor& x, const Slices& slices) {
  return slices.count > 1 && (slices.axis == -1 || slices.axis == x.dim() - 1);
}

/// Steps and codes of all slices.
struct AllSteps {
  std::vector<float> scale, lowest, highest;

  AllSteps(const at::Tensor& scales, const at::Tensor& zero_points, const StepGrid& grid)
      : scale(static_cast<size_t>(grid.slices.count)), lowest(scale), highest(scale) {
    const at::Tensor from = scales.contiguous();
    const at::Tensor zeros = zero_points.defined() ? zero_points.contiguous() : zero_points;
    for (size_t i = 0; i < scale.size(); ++i) {
      const float zero = zeros.defined() ? zeros.data_ptr<float>()[i] : 0.0F;
      scale[i] = from.data_ptr<float>()[i];
      lowest[i] = static_cast<float>(grid.codes.lowest) - zero;
      highest[i] = static_cast<float>(grid.codes.highest) - zero;
    }
  }

  Step operator[](int64_t slice) const {
    const auto i = static_cast<size_t>(slice);
    return {scale[i], lowest[i], highest[i]};
  }
  StepRow row() const { return {scale.data(), lowest.data(), highest.data()}; }
};

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

/// Tensors of one layout: elements pair up by their place in memory.
struct Buffers {
  const float* x;
  const float* gradient;
  float* result;
};

template <Levels levels>
std::vector<Sums> backward_runs(const Buffers& memory, const Chunks& chunks,
                                const AllSteps& steps) {
  std::vector<Sums> partial(static_cast<size_t>(chunks.count));
  for_each_chunk(chunks.count, std::min(chunks.run, kChunk), [&](int64_t chunk) {
    const int64_t start = chunks.start(chunk);
    partial[static_cast<size_t>(chunk)] =
        backward_run<levels>(memory.x + start, memory.gradient + start, memory.result + start,
                             chunks.size(chunk), steps[chunks.slice(chunk)]);
  });
  std::vector<Sums> sums(steps.scale.size());
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    Sums& sum = sums[static_cast<size_t>(chunks.slice(chunk))];
    sum.scale += partial[static_cast<size_t>(chunk)].scale;
    sum.outside += partial[static_cast<size_t>(chunk)].outside;
  }
  return sums;
}

template <Levels levels>
std::vector<Sums> backward_rows(const Buffers& memory, const RowChunks& chunks,
                                const AllSteps& steps) {
  const auto slices = static_cast<size_t>(chunks.slices);
  std::vector<float> scale(slices * static_cast<size_t>(chunks.count));
  std::vector<float> outside(scale.size());
  for_each_chunk(chunks.count, chunks.rows_of_chunk * chunks.slices, [&](int64_t chunk) {
    const size_t first = slices * static_cast<size_t>(chunk);
    chunks.for_each_row(chunk, [&](int64_t start) {
      backward_row<levels>(memory.x + start, memory.gradient + start, memory.result + start,
                           chunks.slices, steps.row(), scale.data() + first,
                           outside.data() + first);
    });
  });
  std::vector<Sums> sums(slices);
  for (size_t i = 0; i < scale.size(); ++i) {
    sums[i % slices].scale += scale[i];
    sums[i % slices].outside += outside[i];
  }
  return sums;
}

}  // namespace

bool fits_step_kernels(const at::Tensor& x, const at::Tensor& scale, const Slices& slices) {
  if (!x.is_cpu() || x.scalar_type() != at::kFloat || !scale.is_cpu() ||
      scale.scalar_type() != at::kFloat) {
    return false;
  }
  if (slices.count == 1) return x.is_non_overlapping_and_dense();
  return x.is_contiguous() && (lie_in_rows(x, slices) || Chunks(x, slices).run >= kShortestRun);
}

at::Tensor step_forward(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                        const StepGrid& grid) {
  at::Tensor result = at::empty_like(x);
  const AllSteps steps(scale, zero_point, grid);
  const auto* from = x.data_ptr<float>();
  auto* to = result.data_ptr<float>();
  with_levels(grid.levels, [&](auto levels) {
    if (lie_in_rows(x, grid.slices)) {
      const RowChunks chunks(x, grid.slices);
      for_each_chunk(chunks.count, chunks.rows_of_chunk * chunks.slices, [&](int64_t chunk) {
        chunks.for_each_row(chunk, [&](int64_t start) {
          forward_run<levels()>(from + start, to + start, chunks.slices, steps.row());
        });
      });
      return;
    }
    const Chunks chunks(x, grid.slices);
    for_each_chunk(chunks.count, std::min(chunks.run, kChunk), [&](int64_t chunk) {
      const int64_t start = chunks.start(chunk);
      forward_run<levels()>(from + start, to + start, chunks.size(chunk),
                            SharedStep{steps[chunks.slice(chunk)]});
    });
  });
  return result;
}

StepGradients step_backward(const at::Tensor& x, const at::Tensor& gradient,
                            const at::Tensor& scale, const at::Tensor& zero_point,
                            const StepGrid& grid) {
  const at::Tensor paired = in_layout_of(x, gradient);
  at::Tensor result = at::empty_like(x);
  const AllSteps steps(scale, zero_point, grid);
  const Buffers memory = {x.data_ptr<float>(), paired.data_ptr<float>(), result.data_ptr<float>()};
  std::vector<Sums> sums;
  with_levels(grid.levels, [&](auto levels) {
    sums = lie_in_rows(x, grid.slices)
               ? backward_rows<levels()>(memory, RowChunks(x, grid.slices), steps)
               : backward_runs<levels()>(memory, Chunks(x, grid.slices), steps);
  });
  StepGradients gradients = {result, at::empty_like(scale), at::empty_like(scale)};
  for (size_t i = 0; i < sums.size(); ++i) {
    gradients.scale.data_ptr<float>()[i] = static_cast<float>(sums[i].scale * grid.gradient_scale);
    gradients.zero_point.data_ptr<float>()[i] =
        static_cast<float>(-sums[i].outside * steps.scale[i] * grid.gradient_scale);
  }
  return gradients;
}

}  // namespace ounce::train
