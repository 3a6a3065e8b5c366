#include <string>

#include "models/models.h"
#include "models/window_attention.h"

namespace ounce::models {
namespace {

constexpr int64_t kWidth = 40;
constexpr int64_t kWindow = 8;
constexpr int64_t kHeads = 8;
constexpr int64_t kRatios[] = {4, 2, 2, 2, 4};  // how much wider each layer is inside
constexpr float kSlope = 0.2F;                  // of LeakyRelu
constexpr float kEpsilon = 1e-5F;
constexpr int64_t kScale = 4;

class Builder {
 public:
  explicit Builder(uint64_t seed) : layers_("mobilesr", seed) {}

  Graph build() {
    const ValueId pixels = layers_.picture_input();
    const ValueId head =
        layers_.conv("head", pixels, 3, {.out_channels = kWidth, .kernel = 3, .padding = 1});
    ValueId x = head;
    for (size_t i = 0; i < std::size(kRatios); ++i) {
      const std::string name = "body.layers." + std::to_string(i);
      x = residual_block(name + ".1", transformer(name + ".0", x, kRatios[i]), kRatios[i]);
    }
    x = layers_.concat("concat", {head, x}, 1);
    x = layers_.conv("fuse", x, 2 * kWidth, {.out_channels = kWidth, .kernel = 3, .padding = 1});
    // The checkpoint's own spelling.
    for (const char* name : {"upsapling.0", "upsapling.2"}) {
      x = layers_.conv(name, x, kWidth, {.out_channels = 4 * kWidth});
      x = layers_.pixel_shuffle(std::string(name) + ".shuffle", x, 2);
    }
    x = layers_.leaky_relu("act", x, kSlope);
    x = layers_.conv("tail", x, kWidth,
                     {.out_channels = 3, .kernel = 3, .padding = 1, .gain = 0.3F});
    return layers_.finish(layers_.add("add", x, layers_.enlarge("enlarge", pixels, kScale)),
                          "picture");
  }

 private:
  /// x [batch, height, width, kWidth]. Zeros fill the last windows to the right and below.
  ValueId attention(const std::string& name, ValueId x) {
    const auto whole_windows = [&](ValueId side) {
      const ValueId window = layers_.integers({kWindow});
      const ValueId up = layers_.add(name + ".up", side, layers_.integers({kWindow - 1}));
      return layers_.apply("Mul",
                           {layers_.apply("Div", {up, window}, {}, name + ".windows"), window}, {},
                           name + ".padded");
    };
    const ValueId height = layers_.size_of(x, 1);
    const ValueId width = layers_.size_of(x, 2);
    const auto lacking = [&](ValueId side) {
      return layers_.apply("Sub", {whole_windows(side), side}, {}, name + ".lacking");
    };
    const ValueId pads = layers_.concat(
        name + ".pads",
        {layers_.integers({0, 0, 0, 0, 0}), lacking(height), lacking(width), layers_.integers({0})},
        0);
    x = layers_.apply("Pad", {x, pads}, {}, name + ".pad");
    PictureWindows windows(layers_, name, x, kWindow, kWidth);
    const ValueId tokens = window_attention(
        layers_, name, windows.cut(),
        {.width = kWidth, .heads = kHeads, .qkv_bias = false, .projection = "proj_out"});
    const ValueId sides = layers_.concat(name + ".sides", {height, width}, 0);
    return layers_.slice(name + ".crop", windows.join(tokens), {1, 2}, layers_.integers({0, 0}),
                         sides);
  }

  /// x [batch, kWidth, height, width], and so is the result.
  ValueId transformer(const std::string& name, ValueId x, int64_t ratio) {
    const ValueId position =
        layers_.conv(name + ".pos_embed", x, kWidth,
                     {.out_channels = kWidth, .kernel = 3, .padding = 1, .groups = kWidth});
    x = layers_.transpose(layers_.add(name + ".add_pos", x, position), {0, 2, 3, 1});
    ValueId y = layers_.layer_norm(name + ".norm1", x, kWidth, kEpsilon);
    x = layers_.add(name + ".add1", attention(name + ".attn", y), x);
    y = layers_.layer_norm(name + ".norm2", x, kWidth, kEpsilon);
    y = layers_.linear(name + ".mlp.fc.0", y, kWidth, ratio * kWidth);
    y = layers_.apply("Gelu", {y}, {}, name + ".mlp.fc.1");
    y = layers_.linear(name + ".mlp.fc.2", y, ratio * kWidth, kWidth, 0.3F);
    return layers_.transpose(layers_.add(name + ".add2", x, y), {0, 3, 1, 2});
  }

  ValueId residual_block(const std::string& name, ValueId x, int64_t ratio) {
    const int64_t wide = ratio * kWidth;
    ValueId y = layers_.conv(name + ".net.0", x, kWidth, {.out_channels = wide});
    y = layers_.leaky_relu(name + ".net.1", y, kSlope);
    y = layers_.conv(name + ".net.2", y, wide,
                     {.out_channels = wide, .kernel = 3, .padding = 1, .groups = wide});
    y = layers_.leaky_relu(name + ".net.3", y, kSlope);
    y = layers_.conv(name + ".net.4", y, wide, {.out_channels = kWidth, .gain = 0.3F});
    return layers_.add(name + ".add", y, x);
  }

  LayerBuilder layers_;
};

}  // namespace

Graph mobilesr(uint64_t seed) {
  return Builder(seed).build();
}

}  // namespace ounce::models
