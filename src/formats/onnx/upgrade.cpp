#include "formats/onnx/upgrade.h"

#include <array>
#include <string>
#include <utility>

namespace ounce::formats {

void Upgrade::set_input(size_t index, ValueId id) {
  if (node.inputs.size() <= index) node.inputs.resize(index + 1, kNoValue);
  node.inputs[index] = id;
}

ValueId Upgrade::constant_i64(std::string_view role, std::vector<int64_t> values) {
  return builder.constant(node.name + "." + std::string(role), Tensor::of_i64(std::move(values)));
}

ValueId Upgrade::constant_f32(std::string_view role, float value) {
  return builder.constant(node.name + "." + std::string(role), Tensor::scalar(value));
}

void Upgrade::ints_to_input(std::string_view attribute, size_t index) {
  if (!node.attributes.has(attribute)) return;
  set_input(index, constant_i64(attribute, node.attributes.get_ints(attribute)));
  node.attributes.erase(attribute);
}

ValueId Upgrade::redirect_output() {
  original_output = node.outputs.at(0);
  node.outputs[0] = builder.fresh(node.name + ".inner");
  return node.outputs[0];
}

void append_upgraded(GraphBuilder& builder, Node node, int opset) {
  Upgrade upgrade{builder, opset, std::move(node), {}};
  const std::array tables = {axes_upgrades(), shape_upgrades(), resize_upgrades(),
                             activation_upgrades(), normalization_upgrades()};
  // A rule may rename the operator (Upsample -> Resize); the rows of the new name then apply too,
  // since the tables list old names first.
  for (const auto& table : tables) {
    for (const UpgradeRule& rule : table) {
      if (rule.op == upgrade.node.op && opset < rule.before) rule.apply(upgrade);
    }
  }
  builder.append(std::move(upgrade.node));
  for (Node& following : upgrade.after) builder.append(std::move(following));
}

}  // namespace ounce::formats
