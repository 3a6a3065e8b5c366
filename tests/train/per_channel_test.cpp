#include "train/per_channel.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

namespace ounce::train {
namespace {

struct Case {
  std::vector<int64_t> shape;
  bool channels_last;
};

class PerChannel : public ::testing::TestWithParam<Case> {
 protected:
  PerChannel() {
    at::manual_seed(5);
    x = at::randn(GetParam().shape);
    if (GetParam().channels_last) x = x.contiguous(at::MemoryFormat::ChannelsLast);
    x.requires_grad_(true);
    values = at::randn({x.size(1)}).requires_grad_(true);
  }

  /// `values` as it broadcasts with x.
  at::Tensor column() const {
    std::vector<int64_t> shape(GetParam().shape.size() - 1, 1);
    shape[0] = values.size(0);
    return values.reshape(shape);
  }

  void expect_equal(const at::Tensor& ours, const at::Tensor& theirs, const at::Tensor& slope) {
    EXPECT_TRUE(at::allclose(ours, theirs, 1e-6, 1e-6));
    EXPECT_EQ(ours.strides(), x.strides());
    const auto got = torch::autograd::grad({ours}, {x, values}, {slope});
    const auto wanted = torch::autograd::grad({theirs}, {x, values}, {slope});
    EXPECT_TRUE(at::allclose(got[0], wanted[0], 1e-6, 1e-6));
    EXPECT_TRUE(at::allclose(got[1], wanted[1], 1e-4, 1e-4));
  }

  at::Tensor x, values;
};

TEST_P(PerChannel, ShiftsAreThoseOfABroadcastSum) {
  expect_equal(shift_channels(x, values), x + column(), at::randn_like(x));
}

TEST_P(PerChannel, PReluIsThatOfAChoice) {
  expect_equal(prelu_channels(x, values), at::where(x > 0, x, x * column()), at::randn_like(x));
}

TEST_P(PerChannel, GradientsOfAnotherLayoutPairUp) {
  const at::Tensor slope = at::randn(x.sizes()).transpose(0, 1).contiguous().transpose(0, 1);
  expect_equal(prelu_channels(x, values), at::where(x > 0, x, x * column()), slope);
  expect_equal(shift_channels(x, values), x + column(), slope);
}

TEST_P(PerChannel, OperandsThatBroadcastAlongAxisOneAreTaken) {
  EXPECT_TRUE(channel_values(x, column()).has_value());
  EXPECT_TRUE(channel_values(x, column().unsqueeze(0)).has_value());
  EXPECT_FALSE(channel_values(x, values.reshape({-1}).narrow(0, 0, 1)).has_value());
  EXPECT_FALSE(channel_values(x, column().to(at::kDouble)).has_value());
  EXPECT_FALSE(channel_values(x, at::randn(GetParam().shape)).has_value());
}

INSTANTIATE_TEST_SUITE_P(Shapes, PerChannel,
                         ::testing::Values(Case{{2, 3, 5, 7}, false}, Case{{2, 3, 5, 7}, true},
                                           Case{{9, 16, 32, 33}, false},
                                           Case{{9, 16, 32, 33}, true},
                                           Case{{4, 1000, 1, 1}, false}, Case{{3, 6, 40}, false},
                                           Case{{5, 2, 1}, false}));

}  // namespace
}  // namespace ounce::train
