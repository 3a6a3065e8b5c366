#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace ounce::methods {

/// How rough pictures [count, channels, height, width] are: the sum of the Frobenius norms of the
/// differences to the right, to below, and to both diagonals, over the whole batch (PSAQ-ViT,
/// arXiv 2203.02250, section 3.3).
at::Tensor total_variation(const at::Tensor& pictures);

/// The roughness that PSAQ-ViT aims at, drawn from 2500 to 3000 for 32 pictures of 224 x 224, times
/// the root of the ratio of pixels.
double wanted_variation(const at::Tensor& pictures, std::mt19937_64& random);

/// Differential entropy of the cosine similarities between patches (PSAQ-ViT, eqs. 4 to 7), by a
/// Gaussian kernel density of at most `kSimilarities` pairs a picture, chosen at random. High where
/// patches differ. `patches`: [pictures, patches, features]. Mean over pictures.
at::Tensor patch_similarity_entropy(const at::Tensor& patches, std::mt19937_64& random);
inline constexpr int64_t kSimilarities = 2048;

/// A BatchNormalization and the statistics of the data that its network was trained on.
struct NormStatistics {
  std::string input;  // value
  at::Tensor mean;
  at::Tensor variance;
};
std::vector<NormStatistics> norm_statistics(const Graph& graph);

/// sum over normalizations of |mean - trained mean|^2 + |deviation - trained deviation|^2 of their
/// inputs [pictures, channels, ..], over all pictures and places (ZeroQ, arXiv 2001.00281).
at::Tensor statistics_mismatch(const std::map<std::string, at::Tensor>& values,
                               const std::vector<NormStatistics>& statistics);

}  // namespace ounce::methods
