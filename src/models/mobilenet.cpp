#include "models/builder.h"
#include "models/models.h"

namespace ounce::models {
namespace {

ValueId relu6(LayerBuilder& layers, ValueId x, const std::string& name) {
  const ValueId zero = layers.constant("zero", Tensor::scalar(0.0F));
  const ValueId six = layers.constant("six", Tensor::scalar(6.0F));
  return layers.apply("Clip", {x, zero, six}, {}, name);
}

/// Expand with a 1x1 convolution, filter depthwise, project without activation.
ValueId inverted_residual(LayerBuilder& layers, const std::string& name, ValueId x, int64_t in,
                          int64_t out, int64_t stride, int64_t expansion) {
  const int64_t hidden = in * expansion;
  ValueId y = x;
  if (expansion != 1) {
    y = layers.conv(name + ".expand", y, in, {.out_channels = hidden});
    y = relu6(layers, y, name + ".expand_relu");
  }
  y = layers.conv(
      name + ".depthwise", y, hidden,
      {.out_channels = hidden, .kernel = 3, .stride = stride, .padding = 1, .groups = hidden});
  y = relu6(layers, y, name + ".depthwise_relu");
  y = layers.conv(name + ".project", y, hidden, {.out_channels = out, .gain = 0.7F});
  if (stride == 1 && in == out) y = layers.apply("Add", {x, y}, {}, name + ".add");
  return y;
}

}  // namespace

Graph mobilenet_v2(uint64_t seed) {
  // Table 2 of the paper: expansion, channels, repeats, stride of the first repeat.
  struct Stage {
    int64_t expansion, channels, repeats, stride;
  };
  constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                               {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  LayerBuilder layers("mobilenet_v2", seed);
  ValueId x = layers.image_input(224);
  x = layers.conv("stem", x, 3, {.out_channels = 32, .kernel = 3, .stride = 2, .padding = 1});
  x = relu6(layers, x, "stem_relu");
  int64_t in = 32;
  int index = 0;
  for (const Stage& stage : kStages) {
    for (int64_t repeat = 0; repeat < stage.repeats; ++repeat) {
      const std::string name = "blocks." + std::to_string(index++);
      x = inverted_residual(layers, name, x, in, stage.channels, repeat == 0 ? stage.stride : 1,
                            stage.expansion);
      in = stage.channels;
    }
  }
  x = relu6(layers, layers.conv("head", x, in, {.out_channels = 1280}), "head_relu");
  x = layers.apply("Flatten", {layers.apply("GlobalAveragePool", {x}, {}, "avgpool")}, {},
                   "flatten");
  return layers.finish(layers.linear("fc", x, 1280, 1000), "logits");
}

}  // namespace ounce::models
