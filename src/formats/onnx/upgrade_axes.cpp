// Operators whose axes or sizes moved from an attribute to an input.
#include <array>

#include "formats/onnx/upgrade.h"

namespace ounce::formats {
namespace {

void axes_to_input(Upgrade& upgrade) {
  upgrade.ints_to_input("axes", 1);
}

void split_to_input(Upgrade& upgrade) {
  upgrade.ints_to_input("split", 1);
}

/// Before opset 18 a Split without sizes made as many equal parts as the node had outputs.
void state_split_count(Upgrade& upgrade) {
  if (upgrade.node.input(1) != kNoValue) return;
  upgrade.node.attributes.set("num_outputs", static_cast<int64_t>(upgrade.node.outputs.size()));
}

void slice_to_inputs(Upgrade& upgrade) {
  upgrade.ints_to_input("starts", 1);
  upgrade.ints_to_input("ends", 2);
  upgrade.ints_to_input("axes", 3);
}

void k_to_input(Upgrade& upgrade) {
  upgrade.set_input(1, upgrade.constant_i64("k", {upgrade.node.attributes.get_int("k", 1)}));
  upgrade.node.attributes.erase("k");
}

void pads_to_input(Upgrade& upgrade) {
  upgrade.ints_to_input("pads", 1);
  if (upgrade.node.attributes.has("value")) {
    const float value = upgrade.node.attributes.get_float("value", 0.0f);
    upgrade.set_input(2, upgrade.constant_f32("value", value));
    upgrade.node.attributes.erase("value");
  }
}

constexpr std::array kRules = {
    UpgradeRule{"Squeeze", 13, axes_to_input},
    UpgradeRule{"Unsqueeze", 13, axes_to_input},
    UpgradeRule{"ReduceSum", 13, axes_to_input},
    UpgradeRule{"ReduceMean", 18, axes_to_input},
    UpgradeRule{"ReduceMax", 18, axes_to_input},
    UpgradeRule{"ReduceMin", 18, axes_to_input},
    UpgradeRule{"ReduceProd", 18, axes_to_input},
    UpgradeRule{"ReduceL1", 18, axes_to_input},
    UpgradeRule{"ReduceL2", 18, axes_to_input},
    UpgradeRule{"ReduceSumSquare", 18, axes_to_input},
    UpgradeRule{"ReduceLogSum", 18, axes_to_input},
    UpgradeRule{"ReduceLogSumExp", 18, axes_to_input},
    UpgradeRule{"Split", 13, split_to_input},
    UpgradeRule{"Split", 18, state_split_count},
    UpgradeRule{"Slice", 10, slice_to_inputs},
    UpgradeRule{"TopK", 10, k_to_input},
    UpgradeRule{"Pad", 11, pads_to_input},
};

}  // namespace

std::span<const UpgradeRule> axes_upgrades() {
  return kRules;
}

}  // namespace ounce::formats
