#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/session.h"
#include "graph/graph.h"

namespace ounce::quantize {

/// Runs a graph on the engine and hands over named values, be they inputs, outputs or inside.
class TappedRun {
 public:
  /// Throws `Error` when a name is unknown.
  TappedRun(const Graph& graph, const std::vector<std::string>& values, int threads);

  /// Calls `on_value` once for every named value: inputs first, then the inner ones in order of
  /// computation, outputs last.
  void run(std::span<const Tensor> inputs, const engine::Session::TapCallback& on_value);

 private:
  std::map<size_t, std::string> wanted_inputs_;   // by position
  std::map<size_t, std::string> wanted_outputs_;  // by position
  engine::Session session_;
};

}  // namespace ounce::quantize
