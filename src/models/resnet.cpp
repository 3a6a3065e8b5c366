#include "models/builder.h"
#include "models/models.h"

namespace ounce::models {
namespace {

/// relu(conv(relu(conv(x))) + shortcut). The last convolution's gain keeps the sum from growing.
ValueId basic_block(LayerBuilder& layers, const std::string& name, ValueId x, int64_t in,
                    int64_t out, int64_t stride) {
  ValueId y = layers.conv(name + ".conv1", x, in,
                          {.out_channels = out, .kernel = 3, .stride = stride, .padding = 1});
  y = layers.apply("Relu", {y}, {}, name + ".relu1");
  y = layers.conv(name + ".conv2", y, out,
                  {.out_channels = out, .kernel = 3, .padding = 1, .gain = 0.5F});
  ValueId shortcut = x;
  if (stride != 1 || in != out) {
    shortcut = layers.conv(name + ".downsample", x, in,
                           {.out_channels = out, .stride = stride, .gain = 0.7F});
  }
  const ValueId sum = layers.apply("Add", {y, shortcut}, {}, name + ".add");
  return layers.apply("Relu", {sum}, {}, name + ".relu2");
}

/// One binary convolution of the ReActNet form with its own shortcut.
ValueId binary_block(LayerBuilder& layers, const std::string& name, ValueId x, int64_t in,
                     int64_t out, int64_t stride) {
  const auto shift = [&](ValueId value, const char* suffix, int64_t channels) {
    const ValueId amount = layers.constant(name + suffix, layers.normal({channels, 1, 1}, 0.1F));
    return layers.apply("Add", {value, amount}, {}, name + suffix);
  };
  ValueId y = layers.binarize(name + ".sign", shift(x, ".shift0", in), 1.0F);
  y = layers.sign_conv(name + ".conv", y, in,
                       {.out_channels = out, .kernel = 3, .stride = stride, .padding = 1});
  ValueId shortcut = x;
  if (stride != 1 || in != out) {
    AttributeMap pool;
    pool.set("kernel_shape", std::vector<int64_t>{2, 2});
    pool.set("strides", std::vector<int64_t>{2, 2});
    shortcut = layers.apply("AveragePool", {x}, pool, name + ".pool");
    shortcut = layers.conv(name + ".downsample", shortcut, in, {.out_channels = out, .gain = 0.7F});
  }
  y = shift(layers.apply("Add", {y, shortcut}, {}, name + ".add"), ".shift1", out);
  Tensor slope(DType::f32, {out, 1, 1});
  for (float& value : slope.mutable_data<float>()) value = 0.25F;
  y = layers.apply("PRelu", {y, layers.constant(name + ".slope", slope)}, {}, name + ".prelu");
  return shift(y, ".shift2", out);
}

/// The 7x7 convolution and the pooling before the stages.
ValueId stem(LayerBuilder& layers) {
  ValueId x = layers.image_input(224);
  x = layers.conv("conv1", x, 3, {.out_channels = 64, .kernel = 7, .stride = 2, .padding = 3});
  x = layers.apply("Relu", {x}, {}, "relu1");
  AttributeMap pool;
  pool.set("kernel_shape", std::vector<int64_t>{3, 3});
  pool.set("strides", std::vector<int64_t>{2, 2});
  pool.set("pads", std::vector<int64_t>{1, 1, 1, 1});
  return layers.apply("MaxPool", {x}, pool, "maxpool");
}

Graph classify(LayerBuilder& layers, ValueId x, float gain = 1.0F) {
  x = layers.apply("GlobalAveragePool", {x}, {}, "avgpool");
  x = layers.apply("Flatten", {x}, {}, "flatten");
  return layers.finish(layers.linear("fc", x, 512, 1000, gain), "logits");
}

constexpr int64_t kWidths[] = {64, 128, 256, 512};

}  // namespace

Graph resnet18(uint64_t seed) {
  LayerBuilder layers("resnet18", seed);
  ValueId x = stem(layers);
  int64_t in = 64;
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < 2; ++block) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(block);
      x = basic_block(layers, name, x, in, kWidths[stage], block == 0 && stage > 0 ? 2 : 1);
      in = kWidths[stage];
    }
  }
  return classify(layers, x);
}

Graph resnet18_binary(uint64_t seed) {
  LayerBuilder layers("resnet18_binary", seed);
  ValueId x = stem(layers);
  int64_t in = 64;
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < 4; ++block) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(block);
      x = binary_block(layers, name, x, in, kWidths[stage], block == 0 && stage > 0 ? 2 : 1);
      in = kWidths[stage];
    }
  }
  // Sums over all shortcuts, which no ReLU halves, have grown.
  return classify(layers, x, 0.3F);
}

}  // namespace ounce::models
