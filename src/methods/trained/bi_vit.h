#pragma once

#include <memory>

#include "graph/graph.h"
#include "methods/trained/method.h"
#include "train/insert.h"

namespace ounce::methods {

/// The arms of the experiments; the defaults are the method's second stage.
struct BiVitSettings {
  enum class Activations { kBinary, kFloat };
  enum class Scale { kLearned, kNone };

  /// Float ones are the first stage: binary weights alone.
  Activations activations = Activations::kBinary;
  /// Binary attention: learned scales, or plain signs of queries, keys, values and map. Of a map,
  /// which is never negative, these are all the same.
  Scale scale = Scale::kLearned;
  /// Normalised queries and keys.
  bool qk_norm = true;
  /// Weight of the ranking-aware distillation, which needs a teacher; 0: none.
  double rad = 1.0;
};

/// Bi-ViT (arXiv 2305.12354): `graph` with one bit for weights and inputs of all layers but patch
/// embedding and heads, and for queries, keys, values and softmax map of each attention, a learned
/// scale a head. Throws `Error` when there is no attention.
train::Student bi_vit(const Graph& graph, const BiVitSettings& settings);

/// The keys `activations`, `scale`, `qk_norm`, `rad` of a stage.
BiVitSettings read_bi_vit_settings(Settings& stage);
std::unique_ptr<TrainedMethod> read_bi_vit(Settings& stage);

}  // namespace ounce::methods
