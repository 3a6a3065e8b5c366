#include "train/image_set.h"

#include <gtest/gtest.h>

namespace ounce::train {
namespace {

ImageSet numbered(int64_t count) {
  return {at::arange(count).to(at::kByte).reshape({count, 1, 1, 1}), at::arange(count), {"all"}};
}

TEST(ImageSet, SpreadTakesPicturesEvenlyOverTheOrder) {
  const ImageSet some = numbered(10).spread(4);
  EXPECT_TRUE(at::equal(some.labels, at::tensor({0, 2, 5, 7}, at::kLong)));
  EXPECT_TRUE(at::equal(some.images.flatten().to(at::kLong), some.labels));
  EXPECT_EQ(some.classes, std::vector<std::string>{"all"});
}

TEST(ImageSet, SpreadOfMoreThanThereAreIsAll) {
  EXPECT_EQ(numbered(3).spread(7).size(), 3);
}

}  // namespace
}  // namespace ounce::train
