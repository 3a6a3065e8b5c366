#include "recipes/rand_augment.h"

#include <gtest/gtest.h>

#include <set>

#include "graph/error.h"

namespace ounce::recipes {
namespace {

at::Tensor noise() {
  at::Generator random = at::detail::createCPUGenerator(3);
  return at::randint(0, 256, {3, 20, 20}, random, at::kByte);
}

at::Tensor flat(int value) {
  return at::full({3, 20, 20}, value, at::kByte);
}

int distinct(const at::Tensor& picture) {
  const at::Tensor values = picture.flatten();
  const auto* first = values.data_ptr<uint8_t>();
  return static_cast<int>(std::set<uint8_t>(first, first + values.numel()).size());
}

TEST(RandAugment, OperationsOfNoStrengthChangeNothing) {
  for (const Operation operation :
       {Operation::kIdentity, Operation::kRotate, Operation::kSolarize, Operation::kColor,
        Operation::kPosterize, Operation::kContrast, Operation::kBrightness, Operation::kSharpness,
        Operation::kShearX, Operation::kShearY, Operation::kTranslateX, Operation::kTranslateY}) {
    EXPECT_TRUE(at::equal(augmented(noise(), operation, 0), noise()))
        << static_cast<int>(operation);
  }
}

TEST(RandAugment, OperationsDoWhatTheirNamesSay) {
  const at::Tensor x = noise();
  EXPECT_TRUE(at::equal(augmented(x, Operation::kSolarize, 1), 255 - x));
  EXPECT_TRUE(at::equal(augmented(x, Operation::kPosterize, -1), x.bitwise_and(0xf0)));
  EXPECT_TRUE(augmented(flat(100), Operation::kBrightness, 1).eq(190).all().item<bool>());
  EXPECT_TRUE(augmented(flat(100), Operation::kBrightness, -1).eq(10).all().item<bool>());
  EXPECT_TRUE(at::equal(augmented(flat(100), Operation::kContrast, 1), flat(100)));
  EXPECT_TRUE(at::equal(augmented(flat(100), Operation::kSharpness, 1), flat(100)));
  const at::Tensor grey = at::randint(0, 256, {1, 20, 20}, at::kByte).expand({3, 20, 20});
  EXPECT_TRUE(at::equal(augmented(grey, Operation::kColor, 1), grey));
  // 0.45 of 20 columns: the picture moves by 9, grey follows.
  const at::Tensor moved = augmented(x, Operation::kTranslateX, 1);
  EXPECT_TRUE(at::equal(moved.narrow(2, 0, 11), x.narrow(2, 9, 11)));
  EXPECT_TRUE(moved.narrow(2, 11, 9).eq(128).all().item<bool>());
  const at::Tensor risen = augmented(x, Operation::kTranslateY, -1);
  EXPECT_TRUE(at::equal(risen.narrow(1, 9, 11), x.narrow(1, 0, 11)));
  // Stretched and equalised, a narrow range fills the whole one.
  const at::Tensor narrow = at::arange(400).remainder(50).add(100).view({1, 20, 20});
  const at::Tensor dull = narrow.expand({3, 20, 20}).to(at::kByte);
  for (const Operation operation : {Operation::kAutoContrast, Operation::kEqualize}) {
    const at::Tensor bright = augmented(dull, operation, 0.3);
    EXPECT_EQ(bright.min().item<int>(), 0);
    EXPECT_EQ(bright.max().item<int>(), 255);
    EXPECT_EQ(distinct(bright), distinct(dull));
  }
  for (const Operation operation : {Operation::kRotate, Operation::kShearX, Operation::kShearY}) {
    const at::Tensor bent = augmented(x, operation, 0.8);
    EXPECT_FALSE(at::equal(bent, x));
    EXPECT_TRUE(bent.eq(128).any().item<bool>());  // corners come from outside
  }
}

TEST(RandAugment, DependsOnTheSeedAlone) {
  const train::PictureChange change = rand_augment({.operations = 2, .magnitude = 9});
  const at::Tensor x = noise();
  std::set<int64_t> sums;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const at::Tensor once = change(x, seed);
    EXPECT_TRUE(at::equal(once, change(x, seed)));
    EXPECT_EQ(once.sizes(), x.sizes());
    sums.insert(once.to(at::kLong).sum().item<int64_t>());
  }
  EXPECT_GT(sums.size(), 30U);
  EXPECT_TRUE(at::equal(x, noise()));  // what was given stays
}

TEST(RandAugment, NeedsThreeChannels) {
  EXPECT_THROW(augmented(at::zeros({1, 4, 4}, at::kByte), Operation::kRotate, 1), Error);
}

}  // namespace
}  // namespace ounce::recipes
