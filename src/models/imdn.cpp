#include "models/builder.h"
#include "models/models.h"

namespace ounce::models {
namespace {

constexpr int64_t kScale = 4;
constexpr int64_t kColors = 3;
constexpr int64_t kWidth = 64;
constexpr int64_t kBlocks = 8;
constexpr int64_t kKept = kWidth / 4;         // channels that a step distils
constexpr int64_t kRefined = kWidth - kKept;  // and those that go on
constexpr float kSlope = 0.05F;               // of LeakyRelu

ValueId conv3x3(LayerBuilder& layers, const std::string& name, ValueId x, int64_t in, int64_t out) {
  return layers.conv(name, x, in, {.out_channels = out, .kernel = 3, .padding = 1});
}

/// x [batch, kWidth, height, width], and so is the result.
ValueId distillation_block(LayerBuilder& layers, const std::string& name, ValueId x) {
  std::vector<ValueId> distilled;
  ValueId refined = x;
  for (int step = 1; step <= 3; ++step) {
    const std::string part = name + ".conv" + std::to_string(step);
    const ValueId all =
        conv3x3(layers, part + ".0", refined, step == 1 ? kWidth : kRefined, kWidth);
    const auto parts = layers.split_channels(
        part + ".split", layers.leaky_relu(part + ".1", all, kSlope), {kKept, kRefined});
    distilled.push_back(parts[0]);
    refined = parts[1];
  }
  distilled.push_back(conv3x3(layers, name + ".conv4", refined, kRefined, kKept));
  const ValueId fused =
      layers.conv(name + ".conv1x1", layers.concat(name + ".concat", distilled, 1), 4 * kKept,
                  {.out_channels = kWidth, .gain = 0.3F});
  return layers.add(name + ".add", x, fused);
}

}  // namespace

Graph imdn(uint64_t seed) {
  LayerBuilder layers("imdn", seed);
  const ValueId head = conv3x3(layers, "model.0", layers.picture_input(), kColors, kWidth);
  ValueId x = head;
  for (int64_t block = 0; block < kBlocks; ++block) {
    x = distillation_block(layers, "model.1.sub." + std::to_string(block), x);
  }
  x = conv3x3(layers, "model.1.sub." + std::to_string(kBlocks), x, kWidth, kWidth);
  x = layers.add("model.1.add", head, x);
  x = conv3x3(layers, "model.2", x, kWidth, kColors * kScale * kScale);
  return layers.finish(layers.pixel_shuffle("model.3", x, kScale), "picture");
}

}  // namespace ounce::models
