#include <cstdint>
#include <string>
#include <vector>

#include "models/builder.h"
#include "models/models.h"

namespace ounce::models {
namespace {

ValueId conv_norm(LayerBuilder& layers, const std::string& name, const std::string& norm_name,
                  ValueId x, int64_t in, const LayerBuilder::Convolution& spec) {
  LayerBuilder::Convolution without_bias = spec;
  without_bias.bias = false;
  return layers.batch_norm(norm_name, layers.conv(name, x, in, without_bias), spec.out_channels);
}

ValueId pool2(LayerBuilder& layers, const std::string& name, ValueId x) {
  AttributeMap pool;
  pool.set("kernel_shape", std::vector<int64_t>{2, 2});
  pool.set("strides", std::vector<int64_t>{2, 2});
  return layers.apply("AveragePool", {x}, pool, name);
}

ValueId shortcut(LayerBuilder& layers, const std::string& name, ValueId x, int64_t in, int64_t out,
                 int64_t stride, bool padded) {
  if (stride == 1 && in == out) return x;
  if (padded) return layers.padded_shortcut(name + ".shortcut", x, in, out);
  if (stride == 2) x = pool2(layers, name + ".shortcut.pool", x);
  return conv_norm(layers, name + ".shortcut.conv", name + ".shortcut.bn", x, in,
                   {.out_channels = out});
}

/// relu(bn(conv(relu(bn(conv(x))))) + shortcut)
ValueId float_block(LayerBuilder& layers, const std::string& name, ValueId x, int64_t in,
                    int64_t out, int64_t stride, bool padded) {
  ValueId y = conv_norm(layers, name + ".conv1", name + ".bn1", x, in,
                        {.out_channels = out, .kernel = 3, .stride = stride, .padding = 1});
  y = layers.apply("Relu", {y}, {}, name + ".relu1");
  // A small gain keeps sums over all blocks in range until statistics are learned.
  y = conv_norm(layers, name + ".conv2", name + ".bn2", y, out,
                {.out_channels = out, .kernel = 3, .padding = 1, .gain = 0.25F});
  y = layers.apply("Add", {y, shortcut(layers, name, x, in, out, stride, padded)}, {},
                   name + ".add");
  return layers.apply("Relu", {y}, {}, name + ".relu2");
}

/// Shift, [sign], convolution, BatchNormalization, shortcut, shifted PReLU (Liu et al. 2020).
ValueId react_unit(LayerBuilder& layers, const std::string& name, ValueId x, int64_t in,
                   int64_t out, int64_t stride, bool padded) {
  const auto shift = [&](ValueId value, const char* suffix, int64_t channels) {
    const ValueId amount = layers.constant(name + suffix, Tensor(DType::f32, {channels, 1, 1}));
    return layers.apply("Add", {value, amount}, {}, name + suffix);
  };
  ValueId y = shift(x, ".shift0", in);
  y = conv_norm(layers, name + ".conv", name + ".bn", y, in,
                {.out_channels = out, .kernel = 3, .stride = stride, .padding = 1});
  y = layers.apply("Add", {y, shortcut(layers, name, x, in, out, stride, padded)}, {},
                   name + ".add");
  y = shift(y, ".shift1", out);
  Tensor slope(DType::f32, {out, 1, 1});
  for (float& value : slope.mutable_data<float>()) value = 0.25F;
  y = layers.apply("PRelu", {y, layers.constant(name + ".slope", slope)}, {}, name + ".prelu");
  return shift(y, ".shift2", out);
}

/// Stages of blocks; the width doubles and the side halves from each to the next.
struct Stages {
  std::vector<int64_t> blocks;
  int64_t width = 0;  // of the first
  bool padded_shortcuts = false;
  bool react = false;
};

/// The stages, pooling, a linear layer. x has `stages.width` channels.
Graph finish(LayerBuilder& layers, ValueId x, const Stages& stages, int64_t classes) {
  int64_t in = stages.width;
  for (size_t stage = 0; stage < stages.blocks.size(); ++stage) {
    const int64_t out = stages.width << stage;
    for (int64_t block = 0; block < stages.blocks[stage]; ++block) {
      const std::string scope = "layer" + std::to_string(stage + 1) + '.' + std::to_string(block);
      const int64_t stride = block == 0 && stage > 0 ? 2 : 1;
      const bool padded = stages.padded_shortcuts;
      if (stages.react) {
        x = react_unit(layers, scope + ".0", x, in, out, stride, padded);
        x = react_unit(layers, scope + ".1", x, out, out, 1, padded);
      } else {
        x = float_block(layers, scope, x, in, out, stride, padded);
      }
      in = out;
    }
  }
  x = layers.apply("Flatten", {layers.apply("GlobalAveragePool", {x}, {}, "avgpool")}, {},
                   "flatten");
  return layers.finish(layers.linear("fc", x, in, classes), "logits");
}

}  // namespace

Graph cifar_resnet(std::string_view name, const CifarResnetSpec& spec, uint64_t seed) {
  LayerBuilder layers(name, seed);
  ValueId x = layers.image_input(spec.image);
  x = conv_norm(layers, "conv1", "bn1", x, 3,
                {.out_channels = spec.width, .kernel = 3, .padding = 1});
  x = layers.apply("Relu", {x}, {}, "relu1");
  const Stages stages = {std::vector<int64_t>(3, spec.blocks), spec.width, spec.padded_shortcuts,
                         spec.react};
  return finish(layers, x, stages, spec.classes);
}

Graph resnet(std::string_view name, const ResnetSpec& spec, uint64_t seed) {
  LayerBuilder layers(name, seed);
  ValueId x = layers.image_input(spec.image);
  x = conv_norm(layers, "conv1", "bn1", x, 3,
                {.out_channels = spec.width, .kernel = 7, .stride = 2, .padding = 3});
  x = layers.apply("Relu", {x}, {}, "relu1");
  AttributeMap pool;
  pool.set("kernel_shape", std::vector<int64_t>{3, 3});
  pool.set("strides", std::vector<int64_t>{2, 2});
  pool.set("pads", std::vector<int64_t>{1, 1, 1, 1});
  x = layers.apply("MaxPool", {x}, pool, "maxpool");
  return finish(layers, x, {spec.depths, spec.width, false, spec.react}, spec.classes);
}

}  // namespace ounce::models
