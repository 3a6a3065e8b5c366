#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>

#include "graph/passes/passes.h"

namespace ounce {
namespace {

/// Small enough to compare by content: shapes, axes, scalars, per-channel numbers.
constexpr size_t kMaxComparedBytes = 4096;

void append(std::string& key, const void* data, size_t size) {
  key.append(static_cast<const char*>(data), size);
}

template <class T>
void append_number(std::string& key, T number) {
  append(key, &number, sizeof(number));
}

/// Length first, so that neighbours cannot run into each other.
void append_text(std::string& key, std::string_view text) {
  append_number(key, text.size());
  key.append(text);
}

void append_tensor(std::string& key, const Tensor& tensor) {
  append_number(key, tensor.dtype());
  append_number(key, tensor.rank());
  append(key, tensor.shape().data(), tensor.shape().size() * sizeof(int64_t));
  append(key, tensor.raw(), tensor.bytes());
}

struct AttributeKey {
  std::string& key;

  void operator()(int64_t number) const { append_number(key, number); }
  void operator()(float number) const { append_number(key, number); }
  void operator()(const std::string& text) const { append_text(key, text); }
  template <class T>
  void operator()(const std::vector<T>& list) const {
    append_number(key, list.size());
    for (const T& item : list) (*this)(item);
  }
  void operator()(const Tensor& tensor) const { append_tensor(key, tensor); }
};

std::string key_of(const Node& node) {
  std::string key;
  append_text(key, node.op);
  append_number(key, node.inputs.size());
  for (const ValueId id : node.inputs) append_number(key, id);
  append_number(key, node.outputs.size());
  for (const auto& [name, attribute] : node.attributes.entries()) {
    append_text(key, name);
    append_number(key, attribute.index());
    std::visit(AttributeKey{key}, attribute);
  }
  return key;
}

bool is_mergeable(const std::vector<bool>& is_output, const Node& node) {
  if (node.op == "QuantizeLinear" || node.op == "DequantizeLinear") return false;
  // The name of a graph output is seen outside.
  return std::none_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) {
    return id != kNoValue && is_output[static_cast<size_t>(id)];
  });
}

/// Equal small constants become one value, so that nodes that read them compare equal.
int merge_constants(Graph& graph, std::vector<ValueId>& substitute) {
  std::unordered_map<std::string, ValueId> known;
  int count = 0;
  for (size_t i = 0; i < graph.values.size(); ++i) {
    const Value& value = graph.values[i];
    if (!value.is_constant() || value.constant.bytes() > kMaxComparedBytes) continue;
    std::string key;
    append_tensor(key, value.constant);
    const auto [entry, is_new] = known.try_emplace(std::move(key), static_cast<ValueId>(i));
    if (is_new) continue;
    substitute[i] = entry->second;
    ++count;
  }
  return count;
}

}  // namespace

int merge_common_subexpressions(Graph& graph) {
  std::vector<ValueId> substitute(graph.values.size());
  for (size_t i = 0; i < substitute.size(); ++i) substitute[i] = static_cast<ValueId>(i);
  merge_constants(graph, substitute);
  std::vector<bool> is_output(graph.values.size(), false);
  for (const ValueId id : graph.outputs) is_output[static_cast<size_t>(id)] = true;
  std::unordered_map<std::string, size_t> known;
  int count = 0;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    Node& node = graph.nodes[n];
    const bool is_border = node.op == "QuantizeLinear" || node.op == "DequantizeLinear";
    for (ValueId& id : node.inputs) {
      // Q/DQ keep their own parameters: methods change them one by one.
      if (id != kNoValue && !(is_border && graph.value(id).is_constant())) {
        id = substitute[static_cast<size_t>(id)];
      }
    }
    if (!is_mergeable(is_output, node)) continue;
    const auto [entry, is_new] = known.try_emplace(key_of(node), n);
    if (is_new) continue;
    const Node& first = graph.nodes[entry->second];
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      if (first.outputs[i] == kNoValue) continue;
      substitute[static_cast<size_t>(node.outputs[i])] = first.outputs[i];
    }
    ++count;
  }
  graph.remove_dead();
  return count;
}

}  // namespace ounce
