#include "recipes/fine_tune.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <set>
#include <string>

#include "formats/formats.h"
#include "graph/error.h"
#include "models/load_weights.h"
#include "train/tensor.h"

namespace ounce::recipes {
namespace {

using Checkpoint = std::map<std::string, Tensor>;

constexpr const char* kPositions = "pos_embed";
constexpr const char* kClassToken = "cls_token";
constexpr const char* kDistillationToken = "dist_token";

/// What builders call the layers whose outputs are classes.
bool names_classes(const std::string& weight) {
  return weight.starts_with("head.") || weight.starts_with("head_dist.") ||
         weight.starts_with("fc.");
}

std::set<std::string> untaught_heads(const Graph& graph, const Checkpoint& checkpoint,
                                     int64_t classes) {
  std::set<std::string> result;
  for (const Value& value : graph.values) {
    if (!value.is_constant() || !names_classes(value.name)) continue;
    const auto found = checkpoint.find(value.name);
    const bool fits = found != checkpoint.end() && found->second.rank() > 0 &&
                      found->second.shape()[0] == classes;
    if (!fits) result.insert(value.name);
  }
  return result;
}

/// The side of a square of `patches`. Throws `Error` when there is none.
int64_t side_of(int64_t patches) {
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(patches))));
  if (side < 1 || side * side != patches) {
    throw Error(std::string(kPositions) + " of " + std::to_string(patches) +
                    " patches, which are no square",
                {}, "a checkpoint for square pictures");
  }
  return side;
}

/// Positions [1, tokens, width] of a network with `leading` tokens before its patches, for another
/// number of each. Where a leading token is new, it begins where the first one is.
at::Tensor resized_positions(const at::Tensor& positions, int64_t leading, int64_t wanted_leading,
                             int64_t wanted_tokens) {
  const int64_t patches = positions.size(1) - leading;
  const int64_t wanted = wanted_tokens - wanted_leading;
  at::Tensor grid = positions.narrow(1, leading, patches);
  if (patches != wanted) {
    const int64_t from = side_of(patches);
    const int64_t to = side_of(wanted);
    grid = grid.reshape({1, from, from, -1}).permute({0, 3, 1, 2}).contiguous();
    grid = at::_upsample_bicubic2d_aa(grid, {to, to}, /*align_corners=*/false);
    grid = grid.permute({0, 2, 3, 1}).reshape({1, wanted, -1});
  }
  const at::Tensor first = positions.narrow(1, 0, 1);
  std::vector<at::Tensor> parts = {positions.narrow(1, 0, std::min(leading, wanted_leading))};
  for (int64_t i = leading; i < wanted_leading; ++i) parts.push_back(first);
  parts.push_back(grid);
  return at::cat(parts, 1);
}

void fit_positions(Checkpoint& checkpoint, const Graph& graph) {
  const ValueId id = graph.find_value(kPositions);
  const auto found = checkpoint.find(kPositions);
  if (id == kNoValue || found == checkpoint.end()) return;
  const Shape& wanted = graph.value(id).constant.shape();
  const int64_t leading = checkpoint.contains(kDistillationToken) ? 2 : 1;
  const int64_t wanted_leading = graph.find_value(kDistillationToken) == kNoValue ? 1 : 2;
  const Tensor positions = cast(found->second, DType::f32);
  if (positions.rank() != 3 || positions.shape()[0] != 1 || positions.shape()[1] <= leading) return;
  found->second = train::from_torch(
      resized_positions(train::to_torch(positions), leading, wanted_leading, wanted[1]));
  if (wanted_leading == 2 && leading == 1 && checkpoint.contains(kClassToken)) {
    checkpoint[kDistillationToken] = checkpoint.at(kClassToken);
  }
}

}  // namespace

void take_weights(Graph& graph, const ModelSource& source, int64_t classes) {
  try {
    Checkpoint checkpoint = models::renamed_checkpoint(formats::read_checkpoint(source.weights),
                                                       {source.weights_prefix, {}});
    fit_positions(checkpoint, graph);
    models::load_weights(graph, checkpoint, {}, untaught_heads(graph, checkpoint, classes));
  } catch (const Error& error) {
    const std::string path = source.weights.string();
    throw error.where().starts_with(path) ? error : Error(error.message(), path, error.remedy());
  }
}

}  // namespace ounce::recipes
