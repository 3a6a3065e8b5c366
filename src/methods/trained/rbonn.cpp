#include "methods/trained/rbonn.h"

#include <tuple>
#include <utility>

namespace ounce::methods {
namespace {

constexpr double kFirstLookAhead = 0.2;  // u of the released code
constexpr double kFirstGrowth = 1e-4;    // paper mode; 0.2 would add a fifth at every step
constexpr double kLargestGrowth = 1e-3;
constexpr double kRateOfU = 0.1;
constexpr double kRounding = 1e-9;  // 5 * (1 - 0.8) is below 1 in binary

/// How many channels are gated.
int64_t gated_count(int64_t channels, const RbonnSettings& settings) {
  const auto count = static_cast<double>(channels);
  if (settings.mode == RbonnMode::kPaper) {
    return channels - static_cast<int64_t>(count * settings.tau + kRounding);
  }
  return static_cast<int64_t>(count * (1 - settings.tau) + kRounding);
}

/// Channels in ascending order; of equals the first comes first.
at::Tensor order_of(const at::Tensor& values) {
  return std::get<1>(at::sort(values, /*stable=*/true, 0, /*descending=*/false));
}

/// The place of each channel in that order, from 0.
at::Tensor ranks_of(const at::Tensor& values) {
  return order_of(order_of(values));
}

train::LearnedSignOptions sign_options(const train::Slices& channels,
                                       const RbonnSettings& settings) {
  train::LearnedSignOptions options;
  options.channels = channels;
  options.gamma = settings.lambda;
  options.window = !settings.released_gradient;
  options.latent_scale_gradient = settings.released_gradient;
  return options;
}

class Rbonn final : public TrainedMethod {
 public:
  explicit Rbonn(const RbonnSettings& settings) : settings_(settings) {}

  train::Student student(const Graph& network) override { return rbonn(network, settings_); }

  /// Section 4.1: L = L_S + lambda / 2 ||w - alpha sign(w)||^2.
  at::Tensor loss(train::Module& module, const train::Module::Result& /*student*/,
                  const train::Module::Result* /*teacher*/) override {
    return module.penalty();
  }

  std::map<std::string, double> measures(const train::Module& module) override {
    std::map<std::string, double> measures = take_flips(module);
    for (const auto& [name, quantizer] : module.quantizers()) {
      auto* recurrent = dynamic_cast<RecurrentSignWeight*>(quantizer.get());
      if (recurrent == nullptr) continue;
      if (const auto ratio = recurrent->take_update_ratio()) {
        measures["gated_update/" + name] = *ratio;
      }
      if (const at::Tensor reach = recurrent->reach(); reach.defined()) {
        measures["reach/" + name] = reach.item<double>();
      }
    }
    return measures;
  }

 private:
  RbonnSettings settings_;
};

}  // namespace

at::Tensor rbonn_gate(const at::Tensor& alpha, const at::Tensor& norms,
                      const RbonnSettings& settings) {
  const int64_t count = gated_count(alpha.numel(), settings);
  const at::Tensor places = settings.released_gate ? order_of(alpha) : ranks_of(alpha);
  at::Tensor gate = places.lt(count);
  if (settings.sparse_gate || settings.mode == RbonnMode::kPaper) {
    gate = gate.logical_and(ranks_of(norms).lt(alpha.numel() - count));
  }
  return gate.to(alpha.scalar_type());
}

RecurrentSignWeight::RecurrentSignWeight(const train::Slices& channels,
                                         const RbonnSettings& settings)
    : LearnedSignWeight(sign_options(channels, settings)),
      settings_(settings),
      is_recurrent_(gated_count(channels.count, settings) > 0) {
  const bool is_paper = settings.mode == RbonnMode::kPaper;
  u_ = at::full({channels.count}, is_paper ? kFirstGrowth : kFirstLookAhead, at::kFloat);
  u_.requires_grad_(true);
}

std::vector<train::NamedTensor> RecurrentSignWeight::parameters() {
  std::vector<train::NamedTensor> result = LearnedSignWeight::parameters();
  result.push_back({"u", u_, kRateOfU});
  return result;
}

at::Tensor RecurrentSignWeight::gate(const at::Tensor& w) const {
  const at::Tensor norms = train::sum_of_slices(w.detach().abs(), channels());
  return train::along(rbonn_gate(alpha(w), norms, settings_), channels(), w);
}

at::Tensor RecurrentSignWeight::fake_quant(const at::Tensor& x, bool training) {
  if (!training || !is_recurrent_) return LearnedSignWeight::fake_quant(x, training);
  follow(x);
  const bool is_paper = settings_.mode == RbonnMode::kPaper;
  latent_ = x;
  before_ = x.detach().clone();
  at::Tensor ahead = x;
  if (previous_.defined()) {
    // Code mode: w~ = w - u g_prev. Paper mode: `after_step` has moved the weights already; a term
    // of value 0 hands u the gradient dL/dw DReLU(w_prev).
    const at::Tensor factor = is_paper ? u_ - u_.detach() : -u_;
    ahead = x + train::along(factor, channels(), x) * previous_ * gate(is_paper ? previous_ : x);
  }
  const at::Tensor result = binarize(ahead, training);
  if (is_paper) moved_ = before_ * gate(before_);
  return result;
}

void RecurrentSignWeight::after_step() {
  if (latent_.defined()) {
    const at::NoGradGuard no_grad;
    if (settings_.mode == RbonnMode::kPaper) {
      u_.abs_().clamp_max_(kLargestGrowth);
      latent_.add_(train::along(u_, channels(), moved_) * moved_);
      previous_ = before_;
    } else if (latent_.is_leaf() && latent_.grad().defined()) {
      previous_ = latent_.grad().detach().clone();
    }
    tally_updates();
    latent_.reset();
  }
  LearnedSignWeight::after_step();
}

void RecurrentSignWeight::tally_updates() {
  const at::Tensor square = train::sum_of_slices((latent_ - before_).square(), channels());
  const at::Tensor gate =
      rbonn_gate(alpha(before_), train::sum_of_slices(before_.abs(), channels()), settings_);
  const at::Tensor lengths = at::stack({square.sqrt() * gate, square.sqrt() * (1 - gate)});
  const at::Tensor channels_of_each = at::stack({gate.sum(), (1 - gate).sum()});
  const at::Tensor mean = lengths.sum(1) / channels_of_each.clamp_min(1);
  updates_ = updates_.defined() ? updates_ + mean : mean;
}

std::optional<double> RecurrentSignWeight::take_update_ratio() {
  const at::Tensor updates = std::exchange(updates_, {});
  if (!updates.defined() || updates[1].item<double>() == 0.0) return std::nullopt;
  return (updates[0] / updates[1]).item<double>();
}

at::Tensor RecurrentSignWeight::reach() const {
  if (!previous_.defined()) return {};
  const at::NoGradGuard no_grad;
  const at::Tensor& w = latent_weights();
  const at::Tensor moved = settings_.mode == RbonnMode::kPaper ? w : previous_;
  return (train::along(u_, channels(), w) * moved * gate(w)).norm() / w.norm();
}

train::Student rbonn(const Graph& graph, const RbonnSettings& settings) {
  return binary_network(graph, settings.ends, [&](const train::Slices& channels) {
    return std::make_shared<RecurrentSignWeight>(channels, settings);
  });
}

RbonnSettings read_rbonn_settings(Settings& stage) {
  RbonnSettings settings;
  settings.ends = read_ends(stage);
  if (stage.choice("mode", {"code-fixed", "paper"}).value_or(0) == 1) {
    settings.mode = RbonnMode::kPaper;
  }
  settings.tau = stage.number("tau", 0, 1).value_or(settings.tau);
  settings.lambda = stage.number("lambda", 0, 1e3).value_or(settings.lambda);
  settings.sparse_gate = stage.flag("sparse_gate").value_or(false);
  settings.released_gate = stage.choice("gate", {"ranks", "released"}).value_or(0) == 1;
  settings.released_gradient = stage.choice("gradient", {"exact", "released"}).value_or(0) == 1;
  if (settings.mode == RbonnMode::kPaper) {
    for (const char* key : {"sparse_gate", "gate"}) {
      if (stage.has(key)) {
        throw stage.error(key, "is of the other mode: the paper's gate is fixed",
                          "mode = \"code-fixed\"");
      }
    }
  }
  return settings;
}

std::unique_ptr<TrainedMethod> read_rbonn(Settings& stage) {
  return std::make_unique<Rbonn>(read_rbonn_settings(stage));
}

}  // namespace ounce::methods
