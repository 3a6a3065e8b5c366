// Batch and group normalization.
#include <array>

#include "formats/onnx/upgrade.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

void check_spatial(Upgrade& upgrade) {
  if (upgrade.node.attributes.get_int("spatial", 1) != 1) {
    throw Error("BatchNormalization with spatial = 0 is not supported", {},
                "export the model with opset 9 or above");
  }
  upgrade.node.attributes.erase("spatial");
}

/// Before opset 14 extra outputs meant training; they are dropped when nothing names them.
void check_inference_mode(Upgrade& upgrade) {
  std::vector<ValueId>& outputs = upgrade.node.outputs;
  while (outputs.size() > 1 && outputs.back() == kNoValue) outputs.pop_back();
  if (outputs.size() > 1) {
    throw Error("BatchNormalization in training mode is not supported", {},
                "export the model for inference");
  }
}

/// scale or bias: [groups] -> [channels], each entry repeated for the channels of its group.
ValueId spread_over_channels(Upgrade& upgrade, ValueId values, int64_t groups) {
  GraphBuilder& builder = upgrade.builder;
  const Node& node = upgrade.node;
  AttributeMap second;
  second.set("start", int64_t{1});
  second.set("end", int64_t{2});
  const ValueId channels = builder.emit(node, "Shape", {node.inputs[0]}, second);
  const ValueId count = upgrade.constant_i64("groups", {groups});
  const ValueId per_group = builder.emit(node, "Div", {channels, count});
  AttributeMap axis;
  axis.set("axis", int64_t{0});
  const ValueId shape = builder.emit(node, "Concat", {count, per_group}, axis);
  const ValueId column_shape = upgrade.constant_i64("column", {-1, 1});
  const ValueId column = builder.emit(node, "Reshape", {values, column_shape});
  const ValueId table = builder.emit(node, "Expand", {column, shape});
  return builder.emit(node, "Reshape", {table, upgrade.constant_i64("flat", {-1})});
}

/// The channel count may come from a shape the file merely claims: memory is not spent on its word.
constexpr int64_t kMostChannels = int64_t{1} << 20;

/// The same when everything is known at read time.
std::optional<Tensor> spread_constant(const Tensor* values, int64_t groups,
                                      std::optional<int64_t> channels) {
  if (values == nullptr || values->dtype() != DType::f32 || !channels || groups <= 0 ||
      *channels > kMostChannels || *channels % groups != 0 || values->size() != groups) {
    return std::nullopt;
  }
  const auto source = values->data<float>();
  Tensor spread(DType::f32, {*channels});
  const auto target = spread.mutable_data<float>();
  const int64_t per_group = *channels / groups;
  for (int64_t c = 0; c < *channels; ++c) {
    target[static_cast<size_t>(c)] = source[static_cast<size_t>(c / per_group)];
  }
  return spread;
}

void group_norm_per_channel(Upgrade& upgrade) {
  Node& node = upgrade.node;
  if (node.inputs.size() < 3) return;  // validation names it
  const int64_t groups = node.attributes.get_int("num_groups", 0);
  const std::optional<int64_t> channels = upgrade.builder.dim(node.inputs[0], 1);
  for (const size_t index : {1, 2}) {
    const ValueId values = node.inputs[index];
    const auto constant = spread_constant(upgrade.builder.constant_of(values), groups, channels);
    node.inputs[index] = constant ? upgrade.builder.constant(node.name + ".per_channel", *constant)
                                  : spread_over_channels(upgrade, values, groups);
  }
}

constexpr std::array kRules = {
    UpgradeRule{"BatchNormalization", 9, check_spatial},
    UpgradeRule{"BatchNormalization", 14, check_inference_mode},
    UpgradeRule{"GroupNormalization", 21, group_norm_per_channel},
};

}  // namespace

std::span<const UpgradeRule> normalization_upgrades() {
  return kRules;
}

}  // namespace ounce::formats
