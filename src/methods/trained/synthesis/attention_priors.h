#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace ounce::methods {

/// A self-attention map that says which patches of a picture are looked at.
struct PatchAttention {
  std::string map;  // value: softmax output, [.., tokens, tokens]
  int64_t tokens = 0;
  int64_t side = 0;     // patches lie on a grid of side x side, row by row, behind other tokens
  double weight = 0.0;  // l / L of block l of L, eq. in SARDFQ's section on priors

  int64_t patches() const { return side * side; }
  /// Class tokens and the like, before the patches.
  int64_t others() const { return tokens - patches(); }
};

/// The self-attentions of a vision transformer, in order: every one whose map has as many queries
/// as keys, a square number of them after at most `kMostOtherTokens` others. `shapes` holds the
/// shape of each softmax output by name, as seen in a run.
std::vector<PatchAttention> patch_attentions(const Graph& graph,
                                             const std::map<std::string, at::Tensor>& maps);
inline constexpr int64_t kMostOtherTokens = 8;

/// Names of the softmax outputs of all attentions of a graph.
std::vector<std::string> attention_maps(const Graph& graph);

/// What the patches get of a map [.., tokens, tokens]: of the class token where there is one, else
/// the mean over all queries. [rows, patches], a row for each head (and window) of each picture.
at::Tensor attention_to_patches(const at::Tensor& map, const PatchAttention& attention);

/// A random mixture of 1 to 5 Gaussians on a grid of side x side patches, [side * side], sum 1.
/// Centres are uniform on the grid, deviations 0.08 to 0.3 of its side, shares a draw of
/// Dirichlet(1, .., 1).
at::Tensor random_mixture(int64_t side, std::mt19937_64& random);

/// SARDFQ's attention priors alignment (arXiv 2412.16553), with squared errors times the number of
/// patches squared, so that its weight need not be searched for each model:
///   sum over the deep half of the blocks, l / L times
///   sum over heads (and windows) of P sum_u (Ac_u - At_u)^2, mean over pictures
class AttentionPriors {
 public:
  /// A prior for each map row of each picture.
  AttentionPriors(std::vector<PatchAttention> attentions, int64_t pictures, uint64_t seed);

  /// Maps that `loss` reads.
  std::vector<std::string> taps() const;
  /// Of pictures [first, first + count) whose maps these are. Each prior has the mass that its row
  /// has now.
  at::Tensor loss(const std::map<std::string, at::Tensor>& maps, int64_t first, int64_t count);

 private:
  at::Tensor priors_of(size_t attention, int64_t picture, int64_t rows);

  std::vector<PatchAttention> attentions_;  // of the deep half
  uint64_t seed_;
  std::vector<std::vector<at::Tensor>> priors_;  // by attention and picture: [rows, patches]
};

}  // namespace ounce::methods
