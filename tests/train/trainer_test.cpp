#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "graph/error.h"
#include "tests/support/test_data.h"
#include "tests/train/small_network.h"
#include "train/losses.h"

namespace ounce::train {
namespace {

using ounce::testing::channel_pictures;
using ounce::testing::small_network;

BatchSource pictures_in_batches() {
  BatchSource::Options options;
  options.batch_size = 16;
  options.augmentation.crop_padding = 1;
  options.augmentation.flip = true;
  return {channel_pictures(96), options};
}

Objective classification(Module& module) {
  Objective objective;
  objective.loss = [&module](const Batch& batch, const Progress&) {
    return cross_entropy(module(batch.inputs), batch);
  };
  return objective;
}

class EveryOptimizer : public ::testing::TestWithParam<OptimizerKind> {};

TEST_P(EveryOptimizer, LearnsAndResumesExactly) {
  const ounce::testing::TemporaryFolder folder;
  const BatchSource source = pictures_in_batches();
  TrainerOptions options;
  options.epochs = 6;
  options.optimizer.kind = GetParam();
  options.optimizer.learning_rate = GetParam() == OptimizerKind::kSgd ? 0.2 : 0.03;
  options.optimizer.weight_decay = 1e-4;
  options.ema = 0.9;
  options.clip_norm = 5;

  Module whole(small_network());
  Trainer whole_trainer(whole, options);
  ASSERT_TRUE(whole_trainer.run(source, classification(whole)));
  EXPECT_GT(accuracy(whole, channel_pictures(96), {}), 0.9);

  // The same, stopped after 13 of 36 steps and taken up by new objects.
  options.checkpoint = folder.path() / "run.safetensors";
  {
    Module first(small_network());
    Trainer trainer(first, options);
    EXPECT_FALSE(trainer.run(source, classification(first),
                             [](const Progress& progress) { return progress.step < 13; }));
  }
  Module second(small_network());
  Trainer trainer(second, options);
  ASSERT_TRUE(trainer.run(source, classification(second)));
  whole_trainer.use_average();
  trainer.use_average();
  for (const Parameter& parameter : whole.parameters()) {
    EXPECT_TRUE(at::equal(parameter.tensor, second.tensor(parameter.name))) << parameter.name;
  }
  for (const NamedTensor& buffer : whole.buffers()) {
    EXPECT_TRUE(at::equal(buffer.tensor, second.tensor(buffer.name))) << buffer.name;
  }
}
INSTANTIATE_TEST_SUITE_P(Kinds, EveryOptimizer,
                         ::testing::Values(OptimizerKind::kSgd, OptimizerKind::kAdam,
                                           OptimizerKind::kAdamW, OptimizerKind::kLamb));

TEST(Trainer, AccumulatedHalvesAreOneBatchForNetworksWithoutBatchStatistics) {
  const ImageSet set = channel_pictures(96);
  const auto train = [&](int64_t batch, int64_t accumulate) {
    BatchSource::Options options;
    options.batch_size = batch;
    Module module(small_network());
    module.set_training(false);
    TrainerOptions settings;
    settings.optimizer.kind = OptimizerKind::kSgd;
    settings.optimizer.learning_rate = 0.1;
    settings.accumulate = accumulate;
    Trainer trainer(module, settings);
    Objective objective;
    objective.loss = [&](const Batch& batch_of, const Progress&) {
      module.set_training(false);  // running statistics: no picture sees the others
      return cross_entropy(module(batch_of.inputs), batch_of);
    };
    EXPECT_TRUE(trainer.run(BatchSource(set, options), objective));
    return module.tensor("conv.weight").detach().clone();
  };
  EXPECT_TRUE(at::allclose(train(96, 1), train(48, 2), 1e-5, 1e-6));
}

TEST(Trainer, LossThatIsNotFiniteNamesTheFirstValue) {
  Module module(small_network());
  {
    const at::NoGradGuard no_grad;
    module.tensor("bn.weight")[2] = NAN;
  }
  Trainer trainer(module, {});
  try {
    trainer.run(pictures_in_batches(), classification(module));
    FAIL() << "NaN went through";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("first in value bn"), std::string::npos)
        << error.what();
  }
}

TEST(Trainer, CheckpointOfAnotherRunIsRefused) {
  const ounce::testing::TemporaryFolder folder;
  const BatchSource source = pictures_in_batches();
  TrainerOptions options;
  options.checkpoint = folder.path() / "run.safetensors";
  options.fingerprint = "one";
  Module module(small_network());
  ASSERT_TRUE(Trainer(module, options).run(source, classification(module)));
  options.fingerprint = "two";
  EXPECT_THROW(Trainer(module, options).run(source, classification(module)), Error);
}

TEST(Batches, DependOnSeedAndPositionAlone) {
  const BatchSource source = pictures_in_batches();
  const Batch once = source.batch(3, 2);
  source.batch(0, 0);
  const Batch again = pictures_in_batches().batch(3, 2);
  EXPECT_TRUE(at::equal(once.inputs, again.inputs));
  EXPECT_FALSE(at::equal(once.inputs, source.batch(4, 2).inputs));
}

TEST(Batches, RanksShareABatch) {
  const BatchSource source = pictures_in_batches();
  const Batch whole = source.batch(1, 0);
  const Batch first = source.batch(1, 0, 0, 2);
  const Batch second = source.batch(1, 0, 1, 2);
  EXPECT_TRUE(at::equal(at::stack({first.inputs, second.inputs}, 1).flatten(0, 1), whole.inputs));
  EXPECT_TRUE(at::equal(at::stack({first.labels, second.labels}, 1).flatten(), whole.labels));
}

TEST(Batches, MixedTargetsSumToOne) {
  for (const bool cut : {false, true}) {
    BatchSource::Options options;
    options.batch_size = 16;
    (cut ? options.augmentation.cutmix : options.augmentation.mixup) = 1.0;
    const Batch batch = BatchSource(channel_pictures(32), options).batch(0, 0);
    ASSERT_TRUE(batch.targets.defined());
    EXPECT_TRUE(at::allclose(batch.targets.sum(1), at::ones({16})));
  }
}

TEST(Schedule, WarmsUpThenFalls) {
  ScheduleOptions cosine;
  cosine.warmup = 0.1;
  EXPECT_LT(rate_factor(cosine, 0, 100), 0.1);
  EXPECT_DOUBLE_EQ(rate_factor(cosine, 10, 100), 1);
  EXPECT_NEAR(rate_factor(cosine, 55, 100), 0.5, 1e-9);
  EXPECT_LT(rate_factor(cosine, 99, 100), 0.001);
  ScheduleOptions step;
  step.kind = ScheduleKind::kStep;
  step.milestones = {0.5, 0.75};
  EXPECT_DOUBLE_EQ(rate_factor(step, 49, 100), 1);
  EXPECT_DOUBLE_EQ(rate_factor(step, 50, 100), 0.1);
  EXPECT_NEAR(rate_factor(step, 75, 100), 0.01, 1e-12);
}

TEST(Checkpoint, FilesThatAreNoneAreRefused) {
  const ounce::testing::TemporaryFolder folder;
  const auto path = folder.path() / "pictures.safetensors";
  write_image_set(channel_pictures(4), path);
  EXPECT_THROW(read_checkpoint(path), Error);
  const ImageSet back = read_image_set(path);
  EXPECT_TRUE(at::equal(back.images, channel_pictures(4).images));
  EXPECT_EQ(back.classes, channel_pictures(4).classes);
}

TEST(ImageSets, ClassesWithoutNamesAreNumbersAndLabelsMustFit) {
  const ounce::testing::TemporaryFolder folder;
  const auto path = folder.path() / "pictures.safetensors";
  ImageSet set = channel_pictures(40);
  set.classes.clear();
  write_image_set(set, path);
  EXPECT_EQ(read_image_set(path).classes, (std::vector<std::string>{"0", "1", "2"}));
  set.classes = {"only", "two"};
  write_image_set(set, path);
  EXPECT_THROW(read_image_set(path), Error);
}

}  // namespace
}  // namespace ounce::train
