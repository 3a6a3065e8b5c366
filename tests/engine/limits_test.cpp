#include "engine/limits.h"

#include <gtest/gtest.h>

#include "engine/isa.h"

namespace ounce::engine {
namespace {

TEST(MachineLimits, AreMeasuredOnceForEachLevel) {
  const Isa before = current_isa();
  for (const Isa isa : available_isas()) {
    select_isa(isa);
    const MachineLimits limits = machine_limits();
    EXPECT_GT(limits.f32_gops, 0) << isa_name(isa);
    EXPECT_GT(limits.int8_gops, 0) << isa_name(isa);
    EXPECT_GT(limits.bit_gops, 0) << isa_name(isa);
    EXPECT_GT(limits.read_gbs, 0) << isa_name(isa);
    // Two measurements never agree to the last digit.
    EXPECT_EQ(machine_limits().f32_gops, limits.f32_gops) << isa_name(isa);
    EXPECT_EQ(machine_limits().read_gbs, limits.read_gbs) << isa_name(isa);
  }
  select_isa(before);
}

TEST(MachineLimits, BitPlanesShareTheLimitOfSingleBits) {
  const MachineLimits limits = {100, 400, 2000, 30};
  EXPECT_EQ(limits.gops({}), 100);
  EXPECT_EQ(limits.gops(kInt8Multiplication), 400);
  EXPECT_EQ(limits.gops({Arithmetic::kInt8, 4, 8}), 400);
  EXPECT_EQ(limits.gops({Arithmetic::kBits, 1, 1, 1}), 2000);
  EXPECT_EQ(limits.gops({Arithmetic::kBits, 2, 2, 4}), 500);
}

}  // namespace
}  // namespace ounce::engine
