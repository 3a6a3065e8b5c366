#pragma once

#include <span>
#include <vector>

#include "graph/graph.h"

/// A network as a chain of blocks that each hand one tensor on: what is tuned block by block.
namespace ounce::quantize {

/// The nodes [first, last) of a graph: they read `input` and constants, and what others read of
/// them is `output` alone.
struct Block {
  int first = 0;
  int last = 0;
  ValueId input = kNoValue;
  ValueId output = kNoValue;
  std::vector<int> layers;  // those of the layers asked about that lie in it
};

/// The finest chain of blocks with at least one of `layers` (indices of nodes, in order) each.
/// Residual branches keep their blocks whole: a value is a border where nothing else that was
/// computed is still to be read. What lies behind the last border is the last block, whose output
/// is the graph's only one. Empty when the graph has more than one input or output, or no layers.
std::vector<Block> split_into_blocks(const Graph& graph, std::span<const int> layers);

/// A layer with weights and what follows it alone: its bias, clamps, functions of one value. Its
/// input stands before nodes that change nothing, which a quantized graph has no more.
Block unit_of_layer(const Graph& graph, int layer);

/// The part of a graph that computes `outputs` from `inputs`, as a graph of its own: names stay,
/// ids change. Throws `Error` when the outputs need another input of the graph.
Graph part_of(const Graph& graph, const std::vector<ValueId>& inputs,
              const std::vector<ValueId>& outputs);

}  // namespace ounce::quantize
