#include "recipes/judge.h"

#include <algorithm>
#include <vector>

#include "engine/session.h"
#include "train/tensor.h"

namespace ounce::recipes {
namespace {

constexpr int64_t kBatch = 250;

}  // namespace

Parity judge(train::Module& trained, const Graph& frozen, const train::ImageSet& set,
             const train::Normalization& normalization, int threads) {
  engine::SessionOptions options;
  options.threads = threads;
  engine::Session session(frozen, options);
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> ours;
  std::vector<at::Tensor> theirs;
  for (int64_t first = 0; first < set.size(); first += kBatch) {
    const train::ImageSet part = set.slice(first, std::min(kBatch, set.size() - first));
    const at::Tensor pixels = train::normalize(part.images, normalization);
    const Tensor inputs[] = {train::from_torch(pixels)};
    ours.push_back(train::to_torch(session.run(inputs).at(0)));
    theirs.push_back(trained(pixels));
  }
  const at::Tensor engine_logits = at::cat(ours);
  const at::Tensor trained_logits = at::cat(theirs);
  const at::Tensor engine_classes = engine_logits.argmax(1);
  const at::Tensor trained_classes = trained_logits.argmax(1);
  const auto share_of_right = [&](const at::Tensor& classes) {
    return classes.eq(set.labels).to(at::kDouble).mean().item<double>();
  };
  Parity parity;
  parity.pictures = set.size();
  parity.trained_accuracy = share_of_right(trained_classes);
  parity.engine_accuracy = share_of_right(engine_classes);
  parity.other_class = engine_classes.ne(trained_classes).sum().item<int64_t>();
  const auto range = (trained_logits.max() - trained_logits.min()).item<double>();
  parity.largest_difference = (engine_logits - trained_logits).abs().max().item<double>() / range;
  return parity;
}

}  // namespace ounce::recipes
