#include "recipes/judge.h"

#include <algorithm>
#include <vector>

#include "engine/session.h"
#include "train/module.h"
#include "train/tensor.h"

namespace ounce::recipes {
namespace {

constexpr int64_t kBatch = 250;

}  // namespace

Parity judge(const Graph& frozen, const train::ImageSet& set,
             const train::Normalization& normalization, int threads) {
  engine::SessionOptions options;
  options.threads = threads;
  engine::Session session(frozen, options);
  train::Module exact(frozen);
  exact.to_double();
  exact.set_training(false);
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> ours;
  std::vector<at::Tensor> theirs;
  for (int64_t first = 0; first < set.size(); first += kBatch) {
    const train::ImageSet part = set.slice(first, std::min(kBatch, set.size() - first));
    const at::Tensor pixels = train::normalize(part.images, normalization);
    const Tensor inputs[] = {train::from_torch(pixels)};
    ours.push_back(train::to_torch(session.run(inputs).at(0)));
    theirs.push_back(exact(pixels.to(at::kDouble)));
  }
  const at::Tensor engine_logits = at::cat(ours).to(at::kDouble);
  const at::Tensor trainer_logits = at::cat(theirs);
  const at::Tensor classes = engine_logits.argmax(1);
  Parity parity;
  parity.pictures = set.size();
  parity.engine_accuracy = classes.eq(set.labels).to(at::kDouble).mean().item<double>();
  parity.other_class = classes.ne(trainer_logits.argmax(1)).sum().item<int64_t>();
  const auto range = (trainer_logits.max() - trainer_logits.min()).item<double>();
  parity.largest_difference = (engine_logits - trainer_logits).abs().max().item<double>() / range;
  return parity;
}

}  // namespace ounce::recipes
