#include "methods/trained/squared_gradients.h"

#include <torch/csrc/autograd/autograd.h>

#include <string>

#include "graph/error.h"
#include "train/tensor.h"

namespace ounce::methods {
namespace {

/// Draws for each run: what one draw says is mostly chance.
constexpr int64_t kDraws = 2;

/// A number whose squared gradients have the Fisher information for their mean.
at::Tensor drawn_loss(const std::vector<at::Tensor>& outputs, at::Generator& random) {
  at::Tensor loss;
  const auto add = [&](const at::Tensor& more) { loss = loss.defined() ? loss + more : more; };
  for (const at::Tensor& output : outputs) {
    if (!output.is_floating_point() || !output.requires_grad()) continue;
    if (output.dim() == 2 && output.size(1) > 1) {
      const at::Tensor scores = output.log_softmax(1);
      const at::Tensor drawn = scores.detach().exp().multinomial(1, false, random);
      add(-scores.gather(1, drawn).sum());
    } else {
      const at::Tensor signs = at::empty_like(output).bernoulli_(0.5, random) * 2 - 1;
      const at::Tensor size = output.detach().square().mean().sqrt().clamp_min(1e-12);
      add((output * signs).sum() / size);
    }
  }
  if (!loss.defined()) {
    throw Error("has no output of which errors could be weighed", "model",
                "--option tuning-loss=plain --option range-loss=plain");
  }
  return loss;
}

}  // namespace

SquaredGradients::SquaredGradients(const Graph& graph, const std::vector<ValueId>& values,
                                   uint64_t seed)
    : module_(graph), random_(at::detail::createCPUGenerator(seed)) {
  for (const ValueId id : values) taps_.push_back(graph.value(id).name);
  module_.set_training(false);
  module_.freeze_parameters();
}

std::vector<SquaredGradients::Seen> SquaredGradients::at_values(const Tensor& input) {
  const at::Tensor x = train::to_torch(input).clone().requires_grad_(true);
  const train::Module::Result result = module_.forward({&x, 1}, taps_);
  std::vector<at::Tensor> tapped;
  for (const std::string& tap : taps_) tapped.push_back(result.taps.at(tap));
  std::vector<Seen> seen;
  for (const at::Tensor& value : tapped) seen.push_back({value.detach(), at::zeros_like(value)});
  for (int64_t draw = 0; draw < kDraws; ++draw) {
    const bool last = draw + 1 == kDraws;
    const std::vector<at::Tensor> gradients = torch::autograd::grad(
        {drawn_loss(result.outputs, random_)}, tapped, {}, !last, false, true);
    for (size_t i = 0; i < seen.size(); ++i) {
      if (gradients[i].defined()) seen[i].squares += gradients[i].square() / kDraws;
    }
  }
  return seen;
}

}  // namespace ounce::methods
