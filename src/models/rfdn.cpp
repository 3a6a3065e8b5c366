#include <string>

#include "models/builder.h"
#include "models/models.h"

namespace ounce::models {
namespace {

constexpr int64_t kScale = 4;
constexpr int64_t kWidth = 50;
constexpr int64_t kKept = kWidth / 2;    // channels that a step distils
constexpr int64_t kNarrow = kWidth / 4;  // of the attention
constexpr int64_t kBlocks = 4;
constexpr float kSlope = 0.05F;  // of LeakyRelu

class Builder {
 public:
  explicit Builder(uint64_t seed) : layers_("rfdn", seed) {}

  Graph build() {
    const ValueId features = conv("fea_conv", layers_.picture_input(), 3, kWidth, 3);
    std::vector<ValueId> outputs;
    ValueId x = features;
    for (int64_t i = 1; i <= kBlocks; ++i) {
      outputs.push_back(x = block("B" + std::to_string(i), x));
    }
    x = conv("c.0", layers_.concat("concat", outputs, 1), kBlocks * kWidth, kWidth, 1);
    x = conv("LR_conv", layers_.leaky_relu("c.1", x, kSlope), kWidth, kWidth, 3);
    x = conv("upsampler.0", layers_.add("add", x, features), kWidth, 3 * kScale * kScale, 3);
    Graph graph = layers_.finish(layers_.pixel_shuffle("upsampler.1", x, kScale), "picture");
    graph.metadata["ounce.preprocess"] = R"({"range":"0..255"})";
    return graph;
  }

 private:
  ValueId conv(const std::string& name, ValueId x, int64_t in, int64_t out, int64_t kernel) {
    return layers_.conv(name, x, in,
                        {.out_channels = out, .kernel = kernel, .padding = kernel / 2});
  }
  ValueId relu(const std::string& name, ValueId x) { return layers_.apply("Relu", {x}, {}, name); }

  /// x [batch, kWidth, height, width], and so is the result.
  ValueId block(const std::string& name, ValueId x) {
    std::vector<ValueId> distilled;
    for (int step = 1; step <= 3; ++step) {
      const std::string part = name + ".c" + std::to_string(step);
      distilled.push_back(
          layers_.leaky_relu(part + "_d.act", conv(part + "_d", x, kWidth, kKept, 1), kSlope));
      const ValueId refined =
          layers_.add(part + ".add", conv(part + "_r", x, kWidth, kWidth, 3), x);
      x = layers_.leaky_relu(part + "_r.act", refined, kSlope);
    }
    distilled.push_back(
        layers_.leaky_relu(name + ".c4.act", conv(name + ".c4", x, kWidth, kKept, 3), kSlope));
    x = layers_.concat(name + ".concat", distilled, 1);
    return spatial_attention(name + ".esa", conv(name + ".c5", x, 4 * kKept, kWidth, 1));
  }

  /// x times a map of its own: what a picture a sixth as large says of each place, and the place
  /// itself (enhanced spatial attention, Liu et al. 2020).
  ValueId spatial_attention(const std::string& name, ValueId x) {
    const ValueId narrow = conv(name + ".conv1", x, kWidth, kNarrow, 1);
    ValueId y = layers_.conv(name + ".conv2", narrow, kNarrow,
                             {.out_channels = kNarrow, .kernel = 3, .stride = 2});
    AttributeMap pool;
    pool.set("kernel_shape", std::vector<int64_t>{7, 7});
    pool.set("strides", std::vector<int64_t>{3, 3});
    y = layers_.apply("MaxPool", {y}, std::move(pool), name + ".pool");
    y = relu(name + ".relu1", conv(name + ".conv_max", y, kNarrow, kNarrow, 3));
    y = relu(name + ".relu2", conv(name + ".conv3", y, kNarrow, kNarrow, 3));
    y = layers_.resize_like(name + ".enlarge", conv(name + ".conv3_", y, kNarrow, kNarrow, 3), x);
    y = layers_.add(name + ".add", y, conv(name + ".conv_f", narrow, kNarrow, kNarrow, 1));
    y = conv(name + ".conv4", y, kNarrow, kWidth, 1);
    const ValueId map = layers_.apply("Sigmoid", {y}, {}, name + ".sigmoid");
    return layers_.apply("Mul", {x, map}, {}, name + ".mul");
  }

  LayerBuilder layers_;
};

}  // namespace

Graph rfdn(uint64_t seed) {
  return Builder(seed).build();
}

}  // namespace ounce::models
