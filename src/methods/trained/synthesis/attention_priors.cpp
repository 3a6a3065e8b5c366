#include "methods/trained/synthesis/attention_priors.h"

#include <cmath>

#include "methods/trained/attention.h"

namespace ounce::methods {
namespace {

/// The largest square number of patches that leaves few enough tokens over; 0: none.
int64_t side_of(int64_t tokens) {
  const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(tokens)));
  return side > 1 && tokens - side * side <= kMostOtherTokens ? side : 0;
}

}  // namespace

std::vector<std::string> attention_maps(const Graph& graph) {
  std::vector<std::string> names;
  for (const Attention& attention : attentions(graph)) {
    const ValueId map = graph.nodes[static_cast<size_t>(attention.softmax)].output(0);
    names.push_back(graph.value(map).name);
  }
  return names;
}

std::vector<PatchAttention> patch_attentions(const Graph& graph,
                                             const std::map<std::string, at::Tensor>& maps) {
  std::vector<PatchAttention> found;
  for (const std::string& name : attention_maps(graph)) {
    const at::Tensor& map = maps.at(name);
    PatchAttention attention;
    attention.map = name;
    attention.tokens = map.size(-1);
    attention.side = side_of(attention.tokens);
    if (map.size(-2) == attention.tokens && attention.side > 0) found.push_back(attention);
  }
  for (size_t l = 0; l < found.size(); ++l) {
    found[l].weight = static_cast<double>(l + 1) / static_cast<double>(found.size());
  }
  return found;
}

at::Tensor attention_to_patches(const at::Tensor& map, const PatchAttention& attention) {
  const at::Tensor rows = map.reshape({-1, attention.tokens, attention.tokens});
  const at::Tensor asked = attention.others() > 0 ? rows.select(1, 0) : rows.mean(1);
  return asked.narrow(1, attention.others(), attention.patches());
}

at::Tensor random_mixture(int64_t side, std::mt19937_64& random) {
  const auto extent = static_cast<double>(side);
  std::uniform_int_distribution<int> components(1, 5);
  std::uniform_real_distribution<double> centre(0.0, extent);
  std::uniform_real_distribution<double> deviation(0.08 * extent, 0.3 * extent);
  std::exponential_distribution<double> share(
      1.0);  // of Dirichlet(1, .., 1), before they are normed
  at::Tensor density = at::zeros({side, side}, at::kDouble);
  const at::Tensor middle = at::arange(side, at::kDouble) + 0.5;
  const int count = components(random);
  for (int i = 0; i < count; ++i) {
    const double x = centre(random), y = centre(random);
    const double dx = deviation(random), dy = deviation(random);
    const at::Tensor across = at::exp(-0.5 * at::square((middle - x) / dx)) / dx;
    const at::Tensor down = at::exp(-0.5 * at::square((middle - y) / dy)) / dy;
    density += share(random) * at::outer(down, across);
  }
  return (density / density.sum()).reshape({-1}).to(at::kFloat);
}

AttentionPriors::AttentionPriors(std::vector<PatchAttention> attentions, int64_t pictures,
                                 uint64_t seed)
    : seed_(seed) {
  for (PatchAttention& attention : attentions) {
    if (attention.weight >= 0.5) attentions_.push_back(std::move(attention));
  }
  priors_.resize(attentions_.size(), std::vector<at::Tensor>(static_cast<size_t>(pictures)));
}

std::vector<std::string> AttentionPriors::taps() const {
  std::vector<std::string> names;
  for (const PatchAttention& attention : attentions_) names.push_back(attention.map);
  return names;
}

at::Tensor AttentionPriors::priors_of(size_t attention, int64_t picture, int64_t rows) {
  at::Tensor& priors = priors_[attention][static_cast<size_t>(picture)];
  if (!priors.defined()) {
    std::seed_seq seeds{seed_, static_cast<uint64_t>(attention), static_cast<uint64_t>(picture)};
    std::mt19937_64 random(seeds);
    std::vector<at::Tensor> drawn;
    for (int64_t i = 0; i < rows; ++i) {
      drawn.push_back(random_mixture(attentions_[attention].side, random));
    }
    priors = at::stack(drawn);
  }
  return priors;
}

at::Tensor AttentionPriors::loss(const std::map<std::string, at::Tensor>& maps, int64_t first,
                                 int64_t count) {
  at::Tensor sum;
  for (size_t i = 0; i < attentions_.size(); ++i) {
    const PatchAttention& attention = attentions_[i];
    const at::Tensor attended = attention_to_patches(maps.at(attention.map), attention);
    const int64_t rows = attended.size(0) / count;
    std::vector<at::Tensor> priors;
    for (int64_t picture = first; picture < first + count; ++picture) {
      priors.push_back(priors_of(i, picture, rows));
    }
    const at::Tensor wanted = at::cat(priors) * attended.detach().sum(1, true);
    const double scale =
        attention.weight * static_cast<double>(attention.patches()) / static_cast<double>(count);
    const at::Tensor loss = scale * at::square(attended - wanted).sum();
    sum = sum.defined() ? sum + loss : loss;
  }
  return sum;
}

}  // namespace ounce::methods
