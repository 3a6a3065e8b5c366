#include <limits>
#include <string>

#include "models/models.h"
#include "models/window_attention.h"

namespace ounce::models {
namespace {

constexpr int64_t kScale = 4;
constexpr int64_t kWidth = 64;
constexpr int64_t kKept = kWidth / 4;         // channels that a step distils
constexpr int64_t kRefined = kWidth - kKept;  // and those that go on
constexpr int64_t kBlocks = 3;
constexpr int64_t kGroups = 4;   // of the convolutions
constexpr float kSlope = 0.05F;  // of LeakyRelu
constexpr int64_t kWindow = 6;
constexpr int64_t kShift = kWindow / 2;
constexpr int64_t kTokens = kWindow * kWindow;
constexpr int64_t kHeads = 2;
constexpr int64_t kHidden = 2 * kWidth;
constexpr float kEpsilon = 1e-5F;
constexpr int16_t kApart = -100;  // added to the scores of tokens that are no neighbours

/// kApart between tokens of the upper and lower (or left and right) halves of a window, else 0.
Tensor halves(bool rows) {
  const auto half = [&](int64_t token) {
    return (rows ? token / kWindow : token % kWindow) < kWindow - kShift;
  };
  std::vector<int16_t> mask;
  for (int64_t i = 0; i < kTokens; ++i) {
    for (int64_t j = 0; j < kTokens; ++j) mask.push_back(half(i) == half(j) ? int16_t{0} : kApart);
  }
  return Tensor::of(mask, {kTokens, kTokens});
}

class Builder {
 public:
  explicit Builder(uint64_t seed) : layers_("imdtn", seed) {}

  Graph build() {
    const ValueId pixels = layers_.picture_input();
    const ValueId height = layers_.size_of(pixels, 2);
    const ValueId width = layers_.size_of(pixels, 3);
    ValueId x = mirrored("pad_height", pixels, 2, height);
    x = mirrored("pad_width", x, 3, width);
    const ValueId features = conv3x3("fea_conv", x, 3, kWidth);
    std::vector<ValueId> outputs;
    x = features;
    for (int64_t i = 1; i <= kBlocks; ++i) {
      outputs.push_back(x = block("IMDTB" + std::to_string(i), x));
    }
    x = layers_.conv("c.0", layers_.concat("concat", outputs, 1), kBlocks * kWidth,
                     {.out_channels = kWidth});
    x = conv3x3("LR_conv", layers_.leaky_relu("c.1", x, kSlope), kWidth, kWidth);
    x = layers_.add("add", x, features);
    x = conv3x3("upsampler.0", x, kWidth, 3 * kScale * kScale);
    x = layers_.pixel_shuffle("upsampler.1", x, kScale);
    const ValueId sides = layers_.apply(
        "Mul", {layers_.concat("sides", {height, width}, 0), layers_.integers({kScale})}, {},
        "large_sides");
    return layers_.finish(layers_.slice("crop", x, {2, 3}, layers_.integers({0, 0}), sides),
                          "picture");
  }

 private:
  ValueId conv3x3(const std::string& name, ValueId x, int64_t in, int64_t out, int64_t groups = 1) {
    return layers_.conv(
        name, x, in,
        {.out_channels = out, .kernel = 3, .padding = 1, .groups = groups, .gain = 0.5F});
  }

  /// An axis of `side` pixels lengthened to the next whole number of windows beyond it by what a
  /// mirror at its end shows.
  ValueId mirrored(const std::string& name, ValueId x, int64_t axis, ValueId side) {
    const ValueId window = layers_.integers({kWindow});
    const ValueId whole = layers_.apply("Div", {side, window}, {}, name + ".windows");
    const ValueId length =
        layers_.apply("Mul", {layers_.add(name + ".more", whole, layers_.integers({1})), window},
                      {}, name + ".length");
    const ValueId reversed = layers_.apply(
        "Slice",
        {x, layers_.integers({-1}), layers_.integers({std::numeric_limits<int64_t>::min()}),
         layers_.integers({axis}), layers_.integers({-1})},
        {}, name + ".mirror");
    return layers_.slice(name, layers_.concat(name + ".both", {x, reversed}, axis), {axis},
                         layers_.integers({0}), length);
  }

  /// The channels of all groups in turns.
  ValueId shuffle_channels(const std::string& name, ValueId x) {
    const ValueId height = layers_.size_of(x, 2);
    const auto reshaped = [&](ValueId value, std::vector<int64_t> channels) {
      channels.insert(channels.begin(), 0);
      const ValueId shape = layers_.concat(
          name + ".shape", {layers_.integers(std::move(channels)), height, layers_.integers({-1})},
          0);
      return layers_.apply("Reshape", {value, shape}, {}, name);
    };
    return reshaped(layers_.transpose(reshaped(x, {kGroups, kWidth / kGroups}), {0, 2, 1, 3, 4}),
                    {kWidth});
  }

  /// x [batch, kWidth, height, width], and so is the result.
  ValueId block(const std::string& name, ValueId x) {
    std::vector<ValueId> distilled;
    ValueId whole = x;
    ValueId refined = x;
    for (int step = 1; step <= 3; ++step) {
      const std::string part = name + ".c" + std::to_string(step);
      const ValueId y = conv3x3(part, refined, step == 1 ? kWidth : kRefined, kWidth, kGroups);
      // What the next step adds to is activated, too.
      whole = layers_.leaky_relu(
          part + ".act", shuffle_channels(part + ".shuffle", layers_.add(part + ".add", y, whole)),
          kSlope);
      const auto parts = layers_.split_channels(part + ".split", whole, {kKept, kRefined});
      distilled.push_back(parts[0]);
      refined = parts[1];
    }
    distilled.push_back(conv3x3(name + ".c4", refined, kRefined, kKept));
    const ValueId fused = layers_.concat(name + ".concat", distilled, 1);
    const std::string group = name + ".transformer.residual_group.blocks.";
    ValueId y = layers_.transpose(fused, {0, 2, 3, 1});
    y = transformer(group + "1", transformer(group + "0", y, false), true);
    y = layers_.add(name + ".transformer.add", layers_.transpose(y, {0, 3, 1, 2}), fused);
    return layers_.add(name + ".add", y, x);
  }

  /// Where the picture was rolled, the windows at its lower and right end hold halves that lie at
  /// opposite borders. [windows, 1, kTokens, kTokens]
  ValueId halves_mask(const std::string& name, const PictureWindows& windows) {
    const auto mask = [&](bool rows, ValueId count, std::vector<int64_t> shape) {
      AttributeMap to;
      to.set("to", int64_t{1});  // f32
      const std::string own = name + (rows ? ".rows" : ".columns");
      const ValueId apart =
          layers_.apply("Cast", {layers_.constant(own, halves(rows))}, to, own + ".mask");
      // 0, ..., 0, 1: only the last window.
      const ValueId before =
          layers_.apply("Sub", {count, layers_.integers({1})}, {}, own + ".before");
      const ValueId pads = layers_.concat(own + ".pads", {before, layers_.integers({0})}, 0);
      const ValueId one = layers_.constant("one", Tensor::of<float>({1.0F}, {1}));
      const ValueId last = layers_.apply("Pad", {one, pads}, {}, own + ".last");
      return layers_.apply("Mul", {layers_.reshape(last, std::move(shape)), apart}, {},
                           own + ".masks");
    };
    const ValueId both = layers_.add(name + ".both", mask(true, windows.down(), {-1, 1, 1, 1, 1}),
                                     mask(false, windows.across(), {-1, 1, 1, 1}));
    return layers_.reshape(both, {-1, 1, kTokens, kTokens});
  }

  ValueId attention(const std::string& name, ValueId x, bool shifted) {
    const auto roll_both = [&](const std::string& what, ValueId y, int64_t first) {
      return roll(layers_, what + "_x", roll(layers_, what + "_y", y, 1, first), 2, first);
    };
    if (shifted) x = roll_both(name + ".roll", x, kShift);
    PictureWindows windows(layers_, name, x, kWindow, kWidth);
    const ValueId tokens =
        window_attention(layers_, name, windows.cut(), {.width = kWidth, .heads = kHeads}, [&] {
          const ValueId bias = position_biases(layers_, name, kWindow, kHeads);
          if (!shifted) return bias;
          return layers_.add(name + ".masked_biases", bias,
                             halves_mask(name + ".attn_mask", windows));
        });
    x = windows.join(tokens);
    return shifted ? roll_both(name + ".unroll", x, -kShift) : x;
  }

  /// x [batch, height, width, kWidth], and so is the result.
  ValueId transformer(const std::string& name, ValueId x, bool shifted) {
    ValueId y = layers_.layer_norm(name + ".norm1", x, kWidth, kEpsilon);
    x = layers_.add(name + ".add1", x, attention(name + ".attn", y, shifted));
    y = layers_.layer_norm(name + ".norm2", x, kWidth, kEpsilon);
    y = layers_.linear(name + ".mlp.fc1", y, kWidth, kHidden);
    y = layers_.apply("Gelu", {y}, {}, name + ".mlp.act");
    y = layers_.linear(name + ".mlp.fc2", y, kHidden, kWidth, 0.3F);
    return layers_.add(name + ".add2", x, y);
  }

  LayerBuilder layers_;
};

}  // namespace

Graph imdtn(uint64_t seed) {
  return Builder(seed).build();
}

}  // namespace ounce::models
