#include "methods/trained/lsq.h"

#include <gtest/gtest.h>

#include "engine/session.h"
#include "models/models.h"
#include "tests/methods_trained/small_pictures.h"
#include "train/freeze.h"
#include "train/losses.h"
#include "train/tensor.h"
#include "train/trainer.h"

namespace ounce::methods {
namespace {

using ounce::testing::small_pictures;

const train::Normalization kNormalization = {{0.5F, 0.5F, 0.5F}, {0.25F, 0.25F, 0.25F}};

Graph small_resnet() {
  return models::cifar_resnet("small", {.image = 16, .classes = 4, .width = 8, .blocks = 1}, 3);
}

void train_on_pictures(train::Module& module, int64_t epochs, double rate) {
  train::BatchSource::Options options;
  options.batch_size = 32;
  options.normalization = kNormalization;
  const train::BatchSource source(small_pictures(512, 1), options);
  train::TrainerOptions trainer_options;
  trainer_options.epochs = epochs;
  trainer_options.optimizer.learning_rate = rate;
  train::Trainer trainer(module, trainer_options);
  train::Objective objective;
  objective.loss = [&](const train::Batch& batch, const train::Progress&) {
    return train::cross_entropy(module(batch.inputs), batch);
  };
  ASSERT_TRUE(trainer.run(source, objective));
}

/// Both executors: same class on every picture, logits within 1e-3 of their range.
void expect_parity(const Graph& frozen, const train::ImageSet& set) {
  train::Module module(frozen);
  module.to_double();
  module.set_training(false);
  const at::Tensor pictures = train::normalize(set.images, kNormalization);
  const at::Tensor expected = module(pictures.to(at::kDouble)).detach();
  engine::Session session(frozen);
  const Tensor inputs[] = {train::from_torch(pictures)};
  const at::Tensor actual = train::to_torch(session.run(inputs).at(0));
  const auto range = (expected.max() - expected.min()).item<double>();
  EXPECT_LE((actual - expected).abs().max().item<double>(), 1e-3 * range);
  EXPECT_EQ(actual.argmax(1).ne(expected.argmax(1)).sum().item<int64_t>(), 0);
}

class LsqBits : public ::testing::TestWithParam<int> {};

TEST_P(LsqBits, LearnsAndRunsInTheEngineAsItWasTrained) {
  at::manual_seed(1);
  train::Module teacher(small_resnet());
  train_on_pictures(teacher, 6, 3e-3);
  const train::ImageSet test = small_pictures(200, 2);
  EXPECT_GT(train::accuracy(teacher, test, kNormalization), 0.9);

  LowBitSettings settings;
  settings.weight_bits = settings.activation_bits = GetParam();
  train::Student student = lsq(teacher.graph(), settings);
  train::Module module(student.graph, student.quantizers);
  train_on_pictures(module, 4, 1e-3);
  EXPECT_GT(train::accuracy(module, test, kNormalization), 0.9);

  const Graph frozen = train::freeze(module);
  expect_parity(frozen, test);
  for (const engine::IntegerSupport& layer : engine::integer_support(frozen)) {
    EXPECT_TRUE(layer.integer) << layer.node << ": " << layer.reason;
  }
}
INSTANTIATE_TEST_SUITE_P(Bits, LsqBits, ::testing::Values(8, 4, 3, 2));

}  // namespace
}  // namespace ounce::methods
