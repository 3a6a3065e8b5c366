#include "quantize/plan/ends.h"

#include <algorithm>

namespace ounce::quantize {
namespace {

bool any_of(const std::vector<ValueId>& ids, const std::vector<bool>& flags) {
  return std::any_of(ids.begin(), ids.end(),
                     [&](ValueId id) { return id != kNoValue && flags[static_cast<size_t>(id)]; });
}

void mark(const std::vector<ValueId>& ids, std::vector<bool>& flags) {
  for (const ValueId id : ids) {
    if (id != kNoValue) flags[static_cast<size_t>(id)] = true;
  }
}

}  // namespace

Ends ends_of(const Graph& graph, const std::function<bool(int)>& is_layer) {
  const size_t count = graph.nodes.size();
  Ends ends{std::vector<bool>(count), std::vector<bool>(count)};
  std::vector<bool> before(graph.values.size(), false);
  std::vector<bool> behind(graph.values.size(), false);
  for (size_t i = 0; i < count; ++i) {
    const Node& node = graph.nodes[i];
    const bool seen = any_of(node.inputs, before);
    ends.first[i] = !seen;
    if (seen || is_layer(static_cast<int>(i))) mark(node.outputs, before);
  }
  for (size_t i = count; i-- > 0;) {
    const Node& node = graph.nodes[i];
    const bool seen = any_of(node.outputs, behind);
    ends.last[i] = !seen;
    if (seen || is_layer(static_cast<int>(i))) mark(node.inputs, behind);
  }
  return ends;
}

}  // namespace ounce::quantize
