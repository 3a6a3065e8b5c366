#pragma once

#include <cstdint>
#include <optional>

#include "graph/graph.h"

/// Where the channels of a tensor come to lie when its elements are moved.
namespace ounce::quantize {

/// The axis of the output of `node` along which lie the channels that lie along `axis` of its data
/// input 0, all of them and in the same order; nullopt where the node does anything to channels, or
/// is no operator that moves, selects, repeats or averages other axes.
std::optional<int64_t> axis_behind(const Graph& graph, const Node& node, int64_t axis);

/// The other way: the axis of input 0 that becomes `axis` of the output.
std::optional<int64_t> axis_before(const Graph& graph, const Node& node, int64_t axis);

/// Extent of an axis, -1 where it is not known.
int64_t extent_of(const Graph& graph, ValueId id, int64_t axis);
int64_t rank_of(const Graph& graph, ValueId id);

}  // namespace ounce::quantize
