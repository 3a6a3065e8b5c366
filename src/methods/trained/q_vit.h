#pragma once

#include <memory>

#include "graph/graph.h"
#include "methods/trained/method.h"
#include "train/insert.h"

namespace ounce::methods {

struct QVitSettings {
  int weight_bits = 4;      // 2 .. 8
  int activation_bits = 4;  // 2 .. 8
  /// Of queries, keys, values and the map, 2 .. 8; 0: those of activations. More of them tell what
  /// a perfect attention would bring (the paper's bottleneck study).
  int attention_bits = 0;
  /// The information rectification module: normalised queries and keys.
  bool irm = true;
  /// Weight of the distribution guided distillation, which needs a teacher; 0: none.
  double dgd = 1.0;
  /// A step for each head of queries, keys, values and map. The engine then computes both products
  /// of attention in float: its integer products have one step an operand.
  bool per_head = false;
};

/// Q-ViT (arXiv 2210.06707): `graph` with LSQ steps for each output channel of weights, LSQ+ steps
/// and zero points for what layers read, and for queries, keys, values and the softmax map of each
/// attention. Patch embedding and heads have 8 bits. Throws `Error` when there is no attention.
train::Student q_vit(const Graph& graph, const QVitSettings& settings);

/// `graph` with the IRM (section 3.2 of the paper) before the scores of every attention: a
/// LayerNormalization of each query and key over its features, gamma = 1 and beta = 0 shared by the
/// heads, epsilon 1e-5. Queries and keys that are normalised already stay as they are. Throws
/// `Error` when their number of features is not known.
Graph insert_irm(Graph graph);

/// The keys `weights`, `activations`, `attention`, `irm`, `dgd`, `per_head` of a stage.
std::unique_ptr<TrainedMethod> read_q_vit(Settings& stage);

}  // namespace ounce::methods
