#include "recipes/before_training.h"

#include "train/losses.h"
#include "train/trainer.h"

namespace ounce::recipes {
namespace {

constexpr int64_t kPictures = 256;  // that ranges and steps start from

}  // namespace

std::optional<BeforeTraining> before_training(const Stage& stage, const Graph& network,
                                              const train::ImageSet& train,
                                              const train::ImageSet& test,
                                              const train::Normalization& normalization) {
  const at::NoGradGuard no_grad;
  const train::Student student = stage.trained->student(network);
  if (student.quantizers.empty()) return std::nullopt;
  train::Module module(student.graph, student.quantizers);
  module(train::normalize(train.spread(kPictures).images, normalization));
  module.set_training(false);
  const at::Tensor logits = train::logits_of(module, test, normalization);
  train::Batch batch;
  batch.labels = test.labels;
  return BeforeTraining{train::cross_entropy(logits, batch).item<double>(),
                        logits.argmax(1).eq(test.labels).to(at::kDouble).mean().item<double>()};
}

}  // namespace ounce::recipes
