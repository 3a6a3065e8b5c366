#include "train/quantizers/scale.h"

#include <string>

#include "graph/error.h"

namespace ounce::train {

StateFlag::StateFlag() : tensor_(at::zeros({1}, at::kBool)) {}

bool StateFlag::get() const {
  if (const int64_t version = tensor_._version(); version != version_) {
    value_ = tensor_.item<bool>();
    version_ = version;
  }
  return value_;
}

void StateFlag::set(bool value) {
  tensor_.fill_(value);
}

Scale::Scale(const Slices& slices, Kind kind) : slices_(slices) {
  if (slices.count < 1) throw Error(std::to_string(slices.count) + " scales are none");
  tensor_ = at::ones({slices.count});
  if (kind == Kind::kLearned) tensor_.requires_grad_(true);
}

void Scale::set(const at::Tensor& values) {
  const at::NoGradGuard no_grad;
  tensor_.copy_(values);
  ready_.set(true);
}

at::Tensor Scale::frozen() const {
  require_ready();
  return tensor_.detach().clone();
}

void Scale::require_ready() const {
  if (!ready()) {
    throw Error("a quantizer has seen no data", {}, "a batch in training mode first");
  }
}

void Scale::keep_above(double least) {
  const at::NoGradGuard no_grad;
  tensor_.clamp_min_(least);
}

}  // namespace ounce::train
