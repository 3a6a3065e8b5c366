// Clip, Dropout, and the softmax family.
#include <array>

#include "formats/onnx/upgrade.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

void clip_to_inputs(Upgrade& upgrade) {
  Node& node = upgrade.node;
  size_t index = 1;
  for (const char* bound : {"min", "max"}) {
    if (node.attributes.has(bound)) {
      const float value = node.attributes.get_float(bound, 0.0f);
      Tensor limit = Tensor::scalar(value);
      const DType dtype = node.input(0) == kNoValue
                              ? DType::f32
                              : upgrade.builder.graph().value(node.input(0)).dtype;
      // The bounds have the type of the data; attributes were always f32.
      if (is_float(dtype)) limit = cast(limit, dtype);
      upgrade.set_input(index, upgrade.builder.constant(node.name + "." + bound, limit));
      node.attributes.erase(bound);
    }
    ++index;
  }
}

/// Before opset 12 dropout was inference-only: the ratio had no effect.
void drop_dropout_ratio(Upgrade& upgrade) {
  upgrade.node.attributes.erase("ratio");
}

/// Before opset 13 the input was seen as a matrix, cut before `axis` (default 1), and each row was
/// normalised as a whole. That equals the present meaning only for the last axis; otherwise the
/// matrix is made, normalised and given its shape back.
void flatten_softmax(Upgrade& upgrade) {
  Node& node = upgrade.node;
  GraphBuilder& builder = upgrade.builder;
  const int64_t axis = node.attributes.get_int("axis", 1);
  const std::optional<int64_t> rank = builder.rank(node.input(0));
  node.attributes.set("axis", int64_t{-1});
  if (axis == -1 || (rank && axis == *rank - 1)) return;
  if (node.inputs.empty() || node.outputs.empty()) return;  // validation names it
  const ValueId source = node.inputs[0];
  const ValueId shape = builder.emit(node, "Shape", {source});
  AttributeMap flatten;
  flatten.set("axis", axis);
  node.inputs[0] = builder.emit(node, "Flatten", {source}, flatten);
  const ValueId matrix = upgrade.redirect_output();
  Node restore;
  restore.op = "Reshape";
  restore.name = node.name + ".Reshape";
  restore.scope = node.scope;
  restore.inputs = {matrix, shape};
  restore.outputs = {upgrade.original_output};
  // A dimension of 0 is a size here, not "copy".
  restore.attributes.set("allowzero", int64_t{1});
  upgrade.after.push_back(std::move(restore));
}

constexpr std::array kRules = {
    UpgradeRule{"Clip", 11, clip_to_inputs},     UpgradeRule{"Dropout", 12, drop_dropout_ratio},
    UpgradeRule{"Softmax", 13, flatten_softmax}, UpgradeRule{"LogSoftmax", 13, flatten_softmax},
    UpgradeRule{"Hardmax", 13, flatten_softmax},
};

}  // namespace

std::span<const UpgradeRule> activation_upgrades() {
  return kRules;
}

}  // namespace ounce::formats
