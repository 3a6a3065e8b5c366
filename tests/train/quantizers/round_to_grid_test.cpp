#include "train/quantizers/round_to_grid.h"

#include <string>

#include "graph/error.h"
#include "tests/train/quantizers/checks.h"

namespace ounce::train {
namespace {

using testing::autograd_gradient;
using testing::near;
using testing::normal;
using testing::numeric_gradient;
using testing::same;

/// `x` clamped to the range, plus what rounding adds, held as it was: the function whose gradients
/// the quantizer has.
struct Surrogate {
  StepGrid grid;
  at::Tensor offset;  // code - clamp(u); 0 beyond the range

  static at::Tensor clamped(const StepGrid& grid, const at::Tensor& x, const at::Tensor& scale,
                            const at::Tensor& zero) {
    return at::clamp(x / along(scale, grid.slices, x) + along(zero, grid.slices, x),
                     grid.codes.lowest, grid.codes.highest);
  }

  Surrogate(const StepGrid& grid_in, const at::Tensor& x, const at::Tensor& scale,
            const at::Tensor& zero)
      : grid(grid_in) {
    const at::Tensor u = clamped(grid, x, scale, zero);
    at::Tensor code = u.round();
    if (grid.levels == Levels::kSigns)
      code = at::where(x.lt(0), -at::ones_like(x), at::ones_like(x));
    if (grid.levels == Levels::kMap) code = u.gt(0.5).to(at::kDouble);
    offset = code - u;
  }

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& scale,
                        const at::Tensor& zero) const {
    return along(scale, grid.slices, x) *
           (clamped(grid, x, scale, zero) + offset - along(zero, grid.slices, x));
  }
};

void expect_gradients_of_surrogate(const StepGrid& grid, const at::Tensor& x,
                                   const at::Tensor& scale, const at::Tensor& zero,
                                   bool with_zero) {
  const at::Tensor weights = normal(x.sizes(), 99);
  const Surrogate surrogate(grid, x, scale, zero);
  const at::Tensor none;
  const auto loss = [&](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
    return (surrogate(a, b, c) * weights).sum();
  };
  // What is learned need not be an integer; rounding it counts as the identity.
  const auto quantized = [&](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
    return round_to_grid(a, b, grid, with_zero ? c + 0.3 : none);
  };
  EXPECT_TRUE(near(quantized(x, scale, zero), surrogate(x, scale, zero), 1e-12));
  // Central differences: 1e-16 * |sum| / 1e-6.
  const double tolerance = 1e-7;
  EXPECT_TRUE(
      near(autograd_gradient([&](const auto& t) { return quantized(t, scale, zero); }, x, weights),
           numeric_gradient([&](const auto& t) { return loss(t, scale, zero); }, x), tolerance));
  EXPECT_TRUE(
      near(autograd_gradient([&](const auto& t) { return quantized(x, t, zero); }, scale, weights),
           numeric_gradient([&](const auto& t) { return loss(x, t, zero); }, scale) *
               grid.gradient_scale,
           tolerance));
  if (!with_zero) return;
  EXPECT_TRUE(
      near(autograd_gradient([&](const auto& t) { return quantized(x, scale, t); }, zero, weights),
           numeric_gradient([&](const auto& t) { return loss(x, scale, t); }, zero) *
               grid.gradient_scale,
           tolerance));
}

TEST(RoundToGrid, has_the_gradients_of_its_surrogate_for_all_granularities) {
  const struct {
    Slices slices;
    std::vector<int64_t> shape;
  } cases[] = {{{}, {7, 9}},           {{0, 7}, {7, 9}},        {{1, 9}, {7, 9}},
               {{1, 3}, {2, 3, 5, 4}}, {{-1, 4}, {2, 3, 5, 4}}, {{0, 6}, {6}}};
  for (const auto& [slices, shape] : cases) {
    for (const CodeRange codes : {signed_codes(2), unsigned_codes(2), signed_codes(4)}) {
      SCOPED_TRACE("axis " + std::to_string(slices.axis) + ", codes from " +
                   std::to_string(codes.lowest) + " to " + std::to_string(codes.highest));
      const StepGrid grid = {.slices = slices, .codes = codes, .gradient_scale = 0.25};
      const at::Tensor x = normal(shape, 1);
      const at::Tensor scale = normal({slices.count}, 2).abs() * 0.2 + 0.3;
      expect_gradients_of_surrogate(grid, x, scale, at::zeros({slices.count}, at::kDouble), false);
      const at::Tensor zero = at::arange(slices.count, at::kDouble).remainder(2);
      expect_gradients_of_surrogate(grid, x, scale, zero, true);
    }
  }
}

TEST(RoundToGrid, signs_and_maps_have_the_gradients_of_their_surrogates) {
  const Slices heads = {1, 3};
  const at::Tensor zero = at::zeros({3}, at::kDouble);
  const at::Tensor scale = at::tensor({0.4, 0.8, 1.5}, at::kDouble);
  expect_gradients_of_surrogate(
      {.levels = Levels::kSigns, .slices = heads, .codes = {-1, 1}, .gradient_scale = 0.1},
      normal({2, 3, 4, 5}, 3), scale, zero, false);
  // Maps are not negative; values that are get no gradient.
  expect_gradients_of_surrogate(
      {.levels = Levels::kMap, .slices = heads, .codes = {0, 1}, .gradient_scale = 0.1},
      normal({2, 3, 4, 5}, 4), scale, zero, false);
}

TEST(RoundToGrid, step_gradient_is_the_rounding_in_range_and_the_code_beyond_it) {
  const at::Tensor x = at::tensor({0.3, 0.7, -6.0, 6.0}, at::kDouble);
  const at::Tensor slopes = at::eye(4, at::kDouble);
  const StepGrid grid = {.codes = {-4, 3}};
  const at::Tensor zero = at::ones({1}, at::kDouble);
  // u = x + 1: 1.3 -> 1, 1.7 -> 2, below -4, above 3.
  const double step_gradients[] = {-0.3, 0.3, -4 - 1, 3 - 1};
  const double zero_gradients[] = {0, 0, -1, -1};
  const double x_gradients[] = {1, 1, 0, 0};
  for (int64_t i = 0; i < 4; ++i) {
    at::Tensor leaf = x.clone().requires_grad_(true);
    at::Tensor scale = at::ones({1}, at::kDouble).requires_grad_(true);
    at::Tensor point = zero.clone().requires_grad_(true);
    (round_to_grid(leaf, scale, grid, point) * slopes[i]).sum().backward();
    EXPECT_NEAR(scale.grad().item<double>(), step_gradients[i], 1e-15);
    EXPECT_EQ(point.grad().item<double>(), zero_gradients[i]);
    EXPECT_EQ(leaf.grad()[i].item<double>(), x_gradients[i]);
  }
}

TEST(RoundToGrid, ties_go_to_even_before_the_zero_point_is_added) {
  const at::Tensor x = at::tensor({0.5F, 1.5F, 2.5F, -0.5F, -1.5F});
  const at::Tensor expected = at::tensor({0.0F, 2.0F, 2.0F, 0.0F, -2.0F});
  const at::Tensor one = at::ones({1});
  for (const double zero : {0.0, 1.0, 2.0, 3.0}) {
    EXPECT_TRUE(same(round_to_grid(x, one, {.codes = {-8, 7}}, at::full({1}, zero)), expected));
  }
}

TEST(RoundToGrid, codes_stay_in_range_errors_below_half_a_step_and_twice_is_once) {
  for (int bits = 2; bits <= 8; ++bits) {
    const CodeRange codes = signed_codes(bits);
    const StepGrid grid = {.slices = {0, 16}, .codes = codes};
    const at::Tensor x = normal({16, 200}, static_cast<uint64_t>(bits)).to(at::kFloat);
    const at::Tensor scale = at::linspace(0.01, 0.8, 16);
    const at::Tensor on = round_to_grid(x, scale, grid);
    const at::Tensor steps = x / scale.unsqueeze(1);
    const at::Tensor on_steps = (on / scale.unsqueeze(1)).round();
    EXPECT_TRUE(same(on_steps * scale.unsqueeze(1), on));
    EXPECT_GE(on_steps.min().item<float>(), static_cast<float>(codes.lowest));
    EXPECT_LE(on_steps.max().item<float>(), static_cast<float>(codes.highest));
    const at::Tensor inside = steps.ge(codes.lowest).logical_and_(steps.le(codes.highest));
    // The product rounds to 2^-24 of at most 128 steps.
    EXPECT_LE(((on - x).abs() / scale.unsqueeze(1)).masked_select(inside).max().item<float>(),
              0.5 + 128 * 6e-8);
    EXPECT_TRUE(same(round_to_grid(on, scale, grid), on));
  }
}

TEST(RoundToGrid, refuses_a_value_with_another_number_of_slices) {
  try {
    round_to_grid(at::zeros({2, 5}), at::ones({4}), {.slices = {1, 4}, .codes = {-8, 7}});
    FAIL() << "rounded";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "4 scales along axis 1 do not fit a value of shape [2, 5]");
  }
}

TEST(RoundToGrid, refuses_numbers_of_bits_that_are_no_grid) {
  EXPECT_THROW(signed_codes(1), Error);
  EXPECT_THROW(unsigned_codes(9), Error);
}

}  // namespace
}  // namespace ounce::train
