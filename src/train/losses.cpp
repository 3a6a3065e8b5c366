#include "train/losses.h"

namespace ounce::train {

at::Tensor cross_entropy(const at::Tensor& logits, const Batch& batch, double smoothing) {
  const at::Tensor log_probabilities = logits.log_softmax(1);
  if (!batch.targets.defined()) {
    const at::Tensor chosen = log_probabilities.gather(1, batch.labels.unsqueeze(1)).squeeze(1);
    return -((1 - smoothing) * chosen + smoothing * log_probabilities.mean(1)).mean();
  }
  const at::Tensor agreed = (batch.targets * log_probabilities).sum(1);
  return -((1 - smoothing) * agreed + smoothing * log_probabilities.mean(1)).mean();
}

at::Tensor target_cross_entropy(const at::Tensor& logits, const at::Tensor& targets) {
  return -(targets * logits.log_softmax(1)).sum(1);
}

at::Tensor soft_cross_entropy(const at::Tensor& student, const at::Tensor& teacher,
                              double temperature) {
  const at::Tensor target = (teacher.detach() / temperature).softmax(1);
  return target_cross_entropy(student / temperature, target).mean() * (temperature * temperature);
}

at::Tensor distillation_divergence(const at::Tensor& student, const at::Tensor& teacher,
                                   double temperature) {
  const at::Tensor log_target = (teacher.detach() / temperature).log_softmax(1);
  const at::Tensor log_probabilities = (student / temperature).log_softmax(1);
  return (log_target.exp() * (log_target - log_probabilities)).sum(1).mean() *
         (temperature * temperature);
}

at::Tensor hard_distillation(const at::Tensor& student, const at::Tensor& teacher) {
  return at::cross_entropy_loss(student, teacher.detach().argmax(1));
}

}  // namespace ounce::train
