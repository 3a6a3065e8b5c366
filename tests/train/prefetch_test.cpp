#include "train/prefetch.h"

#include <gtest/gtest.h>

#include <atomic>

#include "graph/error.h"
#include "tests/train/small_network.h"

namespace ounce::train {
namespace {

constexpr int64_t kBatch = 8;
constexpr int64_t kPictures = 40;
constexpr Prefetcher::Range kRange = {5, 0, 15};

BatchSource source_of(const PictureChange& change) {
  BatchSource::Options options;
  options.batch_size = kBatch;
  options.augmentation.flip = true;
  options.augmentation.change = change;
  options.augmentation.erasing = 0.5;
  options.augmentation.mixup = 0.3;
  return {ounce::testing::channel_pictures(kPictures), options};
}

/// Adds a number that follows from the seed.
at::Tensor brightened(const at::Tensor& picture, uint64_t seed) {
  return picture + static_cast<int64_t>(seed % 50);
}

TEST(Prefetcher, GivesTheSameBatchesWhateverTheThreads) {
  const BatchSource source = source_of(brightened);
  for (const int threads : {0, 1, 4}) {
    Prefetcher batches(source, kRange, threads);
    for (int64_t i = 0; i < kRange.end; ++i) {
      const Batch expected = source.batch(i / kRange.per_epoch, i % kRange.per_epoch);
      const Batch batch = batches.next();
      ASSERT_TRUE(at::equal(batch.inputs, expected.inputs)) << threads << " threads, batch " << i;
      ASSERT_TRUE(at::equal(batch.labels, expected.labels));
      ASSERT_TRUE(at::equal(batch.targets, expected.targets));
    }
  }
}

TEST(Prefetcher, GoesOnInTheMiddle) {
  const BatchSource source = source_of(brightened);
  Prefetcher batches(source, {5, 7, 15}, 2);
  EXPECT_TRUE(at::equal(batches.next().inputs, source.batch(1, 2).inputs));
}

TEST(Prefetcher, ErrorsComeWithTheirBatch) {
  std::atomic<int> calls = 0;
  const BatchSource source = source_of([&](const at::Tensor& picture, uint64_t) {
    if (++calls > 2 * kBatch) throw Error("broken picture");
    return picture;
  });
  for (const int threads : {0, 1, 3}) {
    calls = 0;
    Prefetcher batches(source, kRange, threads);
    int64_t given = 0;
    try {
      for (; given < kRange.end; ++given) batches.next();
      FAIL() << "no error with " << threads << " threads";
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()), "broken picture");
    }
    EXPECT_LE(given, 2);
  }
}

TEST(Prefetcher, EndsInTheMiddleWithoutWaiting) {
  const BatchSource source = source_of(brightened);
  for (int round = 0; round < 20; ++round) {
    Prefetcher batches(source, kRange, 3);
    if (round % 2 == 0) batches.next();
  }
}

TEST(Batches, OfARankChangeOnlyWhatItNeeds) {
  std::atomic<int> calls = 0;
  BatchSource::Options options;
  options.batch_size = kBatch;
  options.augmentation.change = [&](const at::Tensor& picture, uint64_t seed) {
    ++calls;
    return brightened(picture, seed);
  };
  options.augmentation.erasing = 0.5;
  const BatchSource source(ounce::testing::channel_pictures(kPictures), options);
  const at::Tensor whole = source.batch(0, 0).inputs;
  EXPECT_EQ(calls, kBatch);
  const Batch share = source.batch(0, 0, 1, 2);
  EXPECT_EQ(calls, kBatch + kBatch / 2);
  EXPECT_TRUE(at::equal(share.inputs, whole.slice(0, 1, kBatch, 2)));
}

TEST(Batches, SharesOfMixedBatchesAreThoseOfTheWhole) {
  const BatchSource source = source_of(brightened);
  const Batch whole = source.batch(2, 1);
  for (const int64_t rank : {0, 1, 2, 3}) {
    const Batch share = source.batch(2, 1, rank, 4);
    EXPECT_TRUE(at::equal(share.inputs, whole.inputs.slice(0, rank, kBatch, 4)));
    EXPECT_TRUE(at::equal(share.targets, whole.targets.slice(0, rank, kBatch, 4)));
  }
}

TEST(Batches, ErasedPicturesHaveARectangleOfNoise) {
  BatchSource::Options options;
  options.batch_size = kBatch;
  options.augmentation.erasing = 1;
  ImageSet set = ounce::testing::channel_pictures(kPictures);
  set.images.zero_();
  const at::Tensor inputs = BatchSource(set, options).batch(0, 0).inputs;
  for (int64_t i = 0; i < kBatch; ++i) {
    const at::Tensor erased = inputs[i].ne(0).any(0);  // [H, W]
    const auto area = erased.sum().item<int64_t>();
    EXPECT_EQ(area, erased.any(0).sum().item<int64_t>() * erased.any(1).sum().item<int64_t>());
    EXPECT_GE(area, 1);
    EXPECT_LE(area, 64 / 2);
  }
}

}  // namespace
}  // namespace ounce::train
