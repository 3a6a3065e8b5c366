#include "train/quantizers/step_kernels.h"

#include <ATen/Parallel.h>

#include <string>
#include <vector>

#include "tests/train/quantizers/checks.h"

namespace ounce::train {
namespace {

using testing::near;
using testing::normal;
using testing::same;

struct Gradients {
  at::Tensor value, x, scale, zero_point;
};

/// Through `round_to_grid`, which takes the kernels for f32 and tensor operators for f64.
Gradients gradients(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero,
                    const StepGrid& grid, const at::Tensor& slopes) {
  at::Tensor leaf = x.detach().requires_grad_(true);
  at::Tensor step = scale.detach().clone().requires_grad_(true);
  at::Tensor point = zero.detach().clone().requires_grad_(true);
  const at::Tensor on = round_to_grid(leaf, step, grid, point);
  on.backward(slopes);
  return {on.detach(), leaf.grad(), step.grad(), point.grad()};
}

/// Multiples of 1/8 and steps that are powers of two: both types compute the same codes.
void expect_the_same_as_tensor_operators(const at::Tensor& x, const StepGrid& grid,
                                         const at::Tensor& slopes) {
  const int64_t count = grid.slices.count;
  const at::Tensor scale = at::pow(2, at::arange(count, at::kFloat).remainder(3) - 1);
  const bool affine = grid.levels == Levels::kAffine;
  const at::Tensor zero =
      affine ? at::arange(count, at::kFloat).remainder(3) - 0.7 : at::zeros({count});
  ASSERT_TRUE(fits_step_kernels(x, scale, grid.slices));
  const Gradients fused = gradients(x, scale, zero, grid, slopes);
  const auto f64 = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const Gradients plain = gradients(f64(x), f64(scale), f64(zero), grid, f64(slopes));
  EXPECT_TRUE(same(fused.value, plain.value));
  EXPECT_TRUE(same(fused.x, plain.x));
  // Terms below 10 in trees of 256, sums of these in f64, the result in f32.
  const double tolerance = static_cast<double>(x.numel() / count) * 10 * 8 * 6e-8;
  EXPECT_TRUE(near(fused.scale, plain.scale, tolerance));
  EXPECT_TRUE(near(fused.zero_point, plain.zero_point, tolerance));
}

at::Tensor eighths(at::IntArrayRef shape, uint64_t seed) {
  return ((normal(shape, seed) * 24).round() / 8).to(at::kFloat);
}

const StepGrid kGrids[] = {
    {.codes = {-4, 3}},
    {.codes = {0, 15}},
    {.levels = Levels::kSigns, .codes = {-1, 1}},
    {.levels = Levels::kMap, .codes = {0, 1}},
};

TEST(StepKernels, compute_what_tensor_operators_do) {
  const struct {
    std::vector<int64_t> shape;
    Slices slices;
  } cases[] = {{{1}, {}},
               {{255}, {}},
               {{3, 5, 7}, {}},
               {{40001}, {}},
               {{2, 3, 17}, {1, 3}},
               {{2, 3, 5, 4}, {-3, 3}},
               {{3, 16385}, {0, 3}},
               {{0, 4}, {}},
               {{0, 4}, {1, 4}},
               {{2, 100, 333}, {-1, 333}},
               {{40, 3}, {1, 3}},
               {{7}, {0, 7}}};
  for (const auto& [shape, slices] : cases) {
    for (StepGrid grid : kGrids) {
      SCOPED_TRACE(std::to_string(slices.count) + " slices, codes from " +
                   std::to_string(grid.codes.lowest) + " to " + std::to_string(grid.codes.highest));
      grid.slices = slices;
      expect_the_same_as_tensor_operators(eighths(shape, 1), grid, normal(shape, 2).to(at::kFloat));
    }
  }
}

TEST(StepKernels, take_tensors_in_any_order_of_memory) {
  const at::Tensor x = eighths({2, 6, 5, 7}, 3).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor slopes = normal({2, 6, 5, 7}, 4).to(at::kFloat);
  expect_the_same_as_tensor_operators(x, kGrids[0], slopes);
  expect_the_same_as_tensor_operators(x, kGrids[0], at::ones({1}).expand({2, 6, 5, 7}));
  expect_the_same_as_tensor_operators(eighths({9, 30}, 5).t(), kGrids[0],
                                      normal({30, 9}, 6).to(at::kFloat));
}

TEST(StepKernels, leave_what_they_cannot_take_to_tensor_operators) {
  const at::Tensor scale = at::ones({6});
  EXPECT_FALSE(fits_step_kernels(at::zeros({8, 6, 3}), scale, {1, 6}));
  EXPECT_FALSE(fits_step_kernels(at::zeros({40, 6}).t(), scale, {0, 6}));
  EXPECT_FALSE(fits_step_kernels(at::zeros({6, 40}, at::kDouble), scale, {0, 6}));
  EXPECT_FALSE(fits_step_kernels(at::zeros({8, 8}).narrow(1, 0, 3), at::ones({1}), {}));
  EXPECT_TRUE(fits_step_kernels(at::zeros({6, 40}), scale, {0, 6}));
}

TEST(StepKernels, sums_are_the_same_with_any_number_of_threads) {
  const int threads = at::get_num_threads();
  for (const Slices& slices : {Slices{}, Slices{0, 100}, Slices{1, 3500}}) {
    const at::Tensor x = normal({100, 3500}, 7).to(at::kFloat);
    const at::Tensor slopes = normal({100, 3500}, 8).to(at::kFloat);
    const StepGrid grid = {.slices = slices, .codes = {-8, 7}};
    const at::Tensor scale = at::full({slices.count}, 0.13F);
    at::set_num_threads(1);
    const StepGradients one = step_backward(x, slopes, scale, {}, grid);
    at::set_num_threads(3);
    const StepGradients three = step_backward(x, slopes, scale, {}, grid);
    at::set_num_threads(threads);
    EXPECT_TRUE(same(one.scale, three.scale));
    EXPECT_TRUE(same(one.zero_point, three.zero_point));
  }
}

}  // namespace
}  // namespace ounce::train
