#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "formats/onnx/graph_builder.h"
#include "graph/graph.h"

namespace ounce::formats {

/// One node on its way from the opset of its file to opset 21. A rule changes `node` in place;
/// nodes it needs before it go through `builder.emit`, nodes after it into `after`.
struct Upgrade {
  GraphBuilder& builder;
  int opset;
  Node node;
  std::vector<Node> after;

  /// Moves an integer-list attribute into an i64 constant at input `index`; nothing when absent.
  void ints_to_input(std::string_view attribute, size_t index);
  /// Sets input `index`, with omitted inputs before it.
  void set_input(size_t index, ValueId id);
  ValueId constant_i64(std::string_view role, std::vector<int64_t> values);
  ValueId constant_f32(std::string_view role, float value);
  /// Redirects output 0 of `node` to a new value, which is returned; what `after` must make is then
  /// the original one, `original_output`.
  ValueId redirect_output();
  ValueId original_output = kNoValue;
};

/// Applies to `op` in files of an opset below `before`.
struct UpgradeRule {
  std::string_view op;
  int before;
  void (*apply)(Upgrade& upgrade);
};

/// The tables of the upgrade_*.cpp files.
std::span<const UpgradeRule> axes_upgrades();
std::span<const UpgradeRule> shape_upgrades();
std::span<const UpgradeRule> resize_upgrades();
std::span<const UpgradeRule> activation_upgrades();
std::span<const UpgradeRule> normalization_upgrades();

/// Brings `node` to opset 21 and appends it, with whatever it needs around it.
void append_upgraded(GraphBuilder& builder, Node node, int opset);

}  // namespace ounce::formats
