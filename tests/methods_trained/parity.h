#pragma once

#include "engine/session.h"
#include "train/module.h"
#include "train/tensor.h"

namespace ounce::testing {

/// How far the engine is from the trainer's executor in f64 on a frozen network.
struct Parity {
  int64_t other_class = 0;  // pictures
  int64_t off = 0;          // pictures with a logit off by more than 1e-3 of the range of logits
};

inline Parity parity_on(const Graph& frozen, const at::Tensor& pictures) {
  train::Module module(frozen);
  module.to_double();
  module.set_training(false);
  const at::Tensor expected = module(pictures.to(at::kDouble)).detach();
  engine::Session session(frozen);
  const Tensor inputs[] = {train::from_torch(pictures)};
  const at::Tensor actual = train::to_torch(session.run(inputs).at(0));
  const at::Tensor range = expected.max() - expected.min();
  const at::Tensor off = (actual - expected).abs().amax(1).gt(1e-3 * range);
  return {actual.argmax(1).ne(expected.argmax(1)).sum().item<int64_t>(), off.sum().item<int64_t>()};
}

}  // namespace ounce::testing
