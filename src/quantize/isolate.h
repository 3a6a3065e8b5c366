#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace ounce::quantize {

/// A float value that two graphs share by name.
struct SharedValue {
  std::string name;
  std::string node;  // of the quantized graph, that computes it
  std::string op;
  ValueId in_quantized = kNoValue;
  /// What readers of the quantized graph see of it: the output of its Q -> DQ pair, or itself. Of a
  /// value that only indexes tables also itself: its quantizer belongs to the tables.
  ValueId seen = kNoValue;
  int quantizer = -1;  // index of its QuantizeLinear in the quantized graph, or -1
};

/// Computed f32 values with a name in both graphs, in order of computation; operators that only
/// move elements are left out.
std::vector<SharedValue> shared_values(const Graph& exact, const Graph& quantized);

/// `exact` with, for each of `values`, a copy of the piece of `quantized` that makes it from the
/// nearest shared values, reading the exact ones, as early as they are there: a run holds the
/// pieces one after the other. `names[i]` receives the name of copy i's result.
Graph isolate(const Graph& exact, const Graph& quantized, const std::vector<SharedValue>& values,
              std::vector<std::string>& names);

/// `base` with one float value, which both graphs have by name, made by the piece of `donor` that
/// makes it from the nearest values that both have. Everything else, and what the piece reads, is
/// that of `base`. Throws `Error` when the name is unknown to one of them.
Graph substitute(const Graph& base, const Graph& donor, const std::string& value);

}  // namespace ounce::quantize
