#include "quantize/tapped_run.h"

#include <algorithm>

namespace ounce::quantize {
namespace {

bool contains(const std::vector<ValueId>& ids, ValueId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

engine::SessionOptions session_options(const Graph& graph, const std::vector<std::string>& values,
                                       int threads) {
  engine::SessionOptions options;
  options.threads = threads;
  for (const std::string& name : values) {
    const ValueId id = graph.find_value(name);
    // Unknown names go to the session, which refuses them by name.
    if (id != kNoValue && (contains(graph.inputs, id) || contains(graph.outputs, id))) continue;
    options.taps.push_back(name);
  }
  return options;
}

std::map<size_t, std::string> positions(const Graph& graph, const std::vector<ValueId>& ids,
                                        const std::vector<std::string>& values) {
  std::map<size_t, std::string> result;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string& name = graph.value(ids[i]).name;
    if (std::find(values.begin(), values.end(), name) != values.end()) result[i] = name;
  }
  return result;
}

}  // namespace

TappedRun::TappedRun(const Graph& graph, const std::vector<std::string>& values, int threads)
    : wanted_inputs_(positions(graph, graph.inputs, values)),
      wanted_outputs_(positions(graph, graph.outputs, values)),
      session_(graph, session_options(graph, values, threads)) {
  // A model may hand an input through as an output: report it once.
  for (const auto& input : wanted_inputs_) {
    std::erase_if(wanted_outputs_,
                  [&](const auto& output) { return output.second == input.second; });
  }
}

void TappedRun::run(std::span<const Tensor> inputs, const engine::Session::TapCallback& on_value) {
  for (const auto& [i, name] : wanted_inputs_) {
    if (i < inputs.size()) on_value(name, inputs[i]);
  }
  const std::vector<Tensor> outputs = session_.run(inputs, on_value);
  for (const auto& [i, name] : wanted_outputs_) on_value(name, outputs[i]);
}

}  // namespace ounce::quantize
