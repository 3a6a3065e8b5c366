// Upsample and the first Resize: asymmetric coordinates, and a rounding that depends on direction.
#include <algorithm>
#include <array>
#include <vector>

#include "formats/onnx/upgrade.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

void set_old_coordinates(Node& node, bool shrinks) {
  node.attributes.set("coordinate_transformation_mode", std::string("asymmetric"));
  node.attributes.set("nearest_mode", std::string(shrinks ? "ceil" : "floor"));
}

/// [X, scales] -> [X, roi, scales].
void move_scales(Node& node) {
  node.inputs.resize(2, kNoValue);
  node.inputs.insert(node.inputs.begin() + 1, kNoValue);
}

void upsample_to_resize(Upgrade& upgrade) {
  Node& node = upgrade.node;
  node.op = "Resize";
  if (node.attributes.has("scales")) {
    const std::vector<float> scales = node.attributes.get_floats("scales");
    const auto count = static_cast<int64_t>(scales.size());
    upgrade.set_input(1,
                      upgrade.builder.constant(node.name + ".scales", Tensor::of(scales, {count})));
    node.attributes.erase("scales");
  }
  move_scales(node);
  if (node.attributes.get_string("mode", "nearest") == "bilinear") {
    node.attributes.set("mode", std::string("linear"));
  }
  set_old_coordinates(node, false);
}

/// Resize of opset 10 takes, for "nearest", the next source pixel where it shrinks and the previous
/// one where it enlarges. One node has one rounding, so a mixture becomes two nodes.
void resize_10(Upgrade& upgrade) {
  Node& node = upgrade.node;
  if (node.inputs.size() != 2) return;  // an Upsample that has just become a Resize
  const Tensor* scales = upgrade.builder.constant_of(node.input(1));
  const bool nearest = node.attributes.get_string("mode", "nearest") == "nearest";
  if (nearest && scales == nullptr) {
    throw Error("Resize of opset 10 with computed scales is not supported", {},
                "export the model with opset 11 or above");
  }
  move_scales(node);
  if (!nearest) return set_old_coordinates(node, false);
  const std::vector<float> factors = scales->to_f32();
  const bool shrinks = std::any_of(factors.begin(), factors.end(), [](float f) { return f < 1; });
  const bool grows = std::any_of(factors.begin(), factors.end(), [](float f) { return f > 1; });
  if (shrinks && grows) {
    std::vector<float> up = factors;
    std::vector<float> down = factors;
    for (float& factor : up) factor = std::max(factor, 1.0f);
    for (float& factor : down) factor = std::min(factor, 1.0f);
    const auto count = static_cast<int64_t>(factors.size());
    Node enlarge = node;
    set_old_coordinates(enlarge, false);
    enlarge.inputs[2] = upgrade.builder.constant(node.name + ".up", Tensor::of(up, {count}));
    node.inputs[0] = upgrade.builder.emit(node, "Resize", enlarge.inputs, enlarge.attributes);
    node.inputs[2] = upgrade.builder.constant(node.name + ".down", Tensor::of(down, {count}));
  }
  set_old_coordinates(node, shrinks);
}

/// Opset 11 and 12 wanted empty tensors where later opsets omit the operand.
void omit_empty_operands(Upgrade& upgrade) {
  for (size_t i = 1; i < upgrade.node.inputs.size(); ++i) {
    const Tensor* constant = upgrade.builder.constant_of(upgrade.node.inputs[i]);
    if (constant != nullptr && constant->size() == 0) upgrade.node.inputs[i] = kNoValue;
  }
  while (!upgrade.node.inputs.empty() && upgrade.node.inputs.back() == kNoValue) {
    upgrade.node.inputs.pop_back();
  }
}

constexpr std::array kRules = {
    UpgradeRule{"Upsample", 10, upsample_to_resize},
    UpgradeRule{"Resize", 11, resize_10},
    // Exporters keep writing empty operands in later opsets, hence a rule for all of them.
    UpgradeRule{"Resize", 22, omit_empty_operands},
};

}  // namespace

std::span<const UpgradeRule> resize_upgrades() {
  return kRules;
}

}  // namespace ounce::formats
