#include <algorithm>

#include "graph/error.h"
#include "models/builder.h"
#include "models/models.h"
#include "models/window_attention.h"

namespace ounce::models {
namespace {

constexpr float kEpsilon = 1e-5F;
constexpr int16_t kApart = -100;  // added to the scores of tokens that are no neighbours

/// The tokens of one stage: `side` x `side` of them, in windows of `window` x `window`.
struct Grid {
  int64_t side = 0;
  int64_t window = 0;
  int64_t width = 0;  // features of a token
  int64_t heads = 0;
  int64_t windows() const { return (side / window) * (side / window); }
  int64_t tokens() const { return window * window; }  // of a window
};

/// Where the picture was rolled by `shift`, a window at its end holds pieces that lie at opposite
/// borders. [windows, 1, tokens, tokens]: kApart between tokens of different pieces, else 0.
Tensor pieces_mask(const Grid& grid, int64_t shift) {
  const auto piece = [&](int64_t at) {
    return at < grid.side - grid.window ? 0 : at < grid.side - shift ? 1 : 2;
  };
  const int64_t across = grid.side / grid.window;
  std::vector<int16_t> mask;
  for (int64_t window = 0; window < grid.windows(); ++window) {
    const auto piece_of = [&](int64_t token) {
      const int64_t y = window / across * grid.window + token / grid.window;
      const int64_t x = window % across * grid.window + token % grid.window;
      return 3 * piece(y) + piece(x);
    };
    for (int64_t i = 0; i < grid.tokens(); ++i) {
      for (int64_t j = 0; j < grid.tokens(); ++j) {
        mask.push_back(piece_of(i) == piece_of(j) ? int16_t{0} : kApart);
      }
    }
  }
  return Tensor::of(mask, {grid.windows(), 1, grid.tokens(), grid.tokens()});
}

class Builder {
 public:
  Builder(std::string_view name, const SwinSpec& spec, uint64_t seed)
      : spec_(spec), layers_(name, seed) {
    if (spec.zero_biases) layers_.zero_biases();
  }

  Graph build() {
    ValueId x = embed();
    Grid grid = {spec_.image / spec_.patch, 0, spec_.width, 0};
    for (size_t stage = 0; stage < spec_.depths.size(); ++stage) {
      const std::string name = "layers." + std::to_string(stage);
      grid.heads = spec_.heads[stage];
      grid.window = std::min(spec_.window, grid.side);
      for (int64_t i = 0; i < spec_.depths[stage]; ++i) {
        const bool shifted = i % 2 == 1 && grid.window < grid.side;
        x = block(name + ".blocks." + std::to_string(i), x, grid, shifted ? grid.window / 2 : 0);
      }
      if (stage + 1 < spec_.depths.size()) {
        x = merge(name + ".downsample", x, grid);
        grid.side /= 2;
        grid.width *= 2;
      }
    }
    x = layers_.layer_norm("norm", x, grid.width, kEpsilon);
    AttributeMap keep;
    keep.set("keepdims", int64_t{0});
    const ValueId tokens = layers_.constant("axes", Tensor::of_i64({1}));
    x = layers_.apply("ReduceMean", {x, tokens}, keep, "avgpool");
    return layers_.finish(layers_.linear("head", x, grid.width, spec_.classes), "logits");
  }

 private:
  /// [batch, side * side, width]
  ValueId embed() {
    ValueId x = layers_.image_input(spec_.image);
    x = layers_.conv("patch_embed.proj", x, 3,
                     {.out_channels = spec_.width, .kernel = spec_.patch, .stride = spec_.patch});
    x = layers_.transpose(layers_.reshape(x, {0, spec_.width, -1}), {0, 2, 1});
    return layers_.layer_norm("patch_embed.norm", x, spec_.width, kEpsilon);
  }

  ValueId roll_both(const std::string& name, ValueId x, int64_t first) {
    return roll(layers_, name + "_x", roll(layers_, name + "_y", x, 1, first), 2, first);
  }

  /// What all heads add to the scores: position biases, and `kApart` where windows are shifted.
  ValueId score_bias(const std::string& name, const Grid& grid, int64_t shift) {
    const ValueId bias = position_biases(layers_, name, grid.window, grid.heads);
    if (shift == 0) return bias;
    AttributeMap to;
    to.set("to", int64_t{1});  // f32
    const ValueId mask =
        layers_.apply("Cast", {layers_.constant(name + ".attn_mask", pieces_mask(grid, shift))}, to,
                      name + ".mask");
    return layers_.apply("Add", {bias, mask}, {}, name + ".masked_biases");
  }

  /// Attention within windows of x [batch, side * side, width].
  ValueId window_attention(const std::string& name, ValueId x, const Grid& grid, int64_t shift) {
    const int64_t across = grid.side / grid.window;
    const std::vector<int64_t> image = {-1, grid.side, grid.side, grid.width};
    const auto exchange = [&](ValueId y) { return layers_.transpose(y, {0, 1, 3, 2, 4, 5}); };
    x = layers_.reshape(x, image);
    if (shift > 0) x = roll_both(name + ".roll", x, shift);
    x = exchange(layers_.reshape(x, {-1, across, grid.window, across, grid.window, grid.width}));
    x = layers_.reshape(x, {-1, grid.windows(), grid.tokens(), grid.width});
    x = models::window_attention(layers_, name, x, {.width = grid.width, .heads = grid.heads},
                                 [&] { return score_bias(name, grid, shift); });
    x = exchange(layers_.reshape(x, {-1, across, across, grid.window, grid.window, grid.width}));
    x = layers_.reshape(x, image);
    if (shift > 0) x = roll_both(name + ".unroll", x, -shift);
    return layers_.reshape(x, {-1, grid.side * grid.side, grid.width});
  }

  ValueId block(const std::string& name, ValueId x, const Grid& grid, int64_t shift) {
    if (grid.side % grid.window != 0 || grid.width % grid.heads != 0) {
      throw Error(std::to_string(grid.side) + " x " + std::to_string(grid.side) + " tokens of " +
                      std::to_string(grid.width) + " features are no whole number of windows of " +
                      std::to_string(grid.window) + " and of " + std::to_string(grid.heads) +
                      " heads",
                  name, "another window, patch or picture size");
    }
    ValueId y = layers_.layer_norm(name + ".norm1", x, grid.width, kEpsilon);
    y = window_attention(name + ".attn", y, grid, shift);
    x = layers_.apply("Add", {x, y}, {}, name + ".add1");
    y = layers_.layer_norm(name + ".norm2", x, grid.width, kEpsilon);
    y = layers_.linear(name + ".mlp.fc1", y, grid.width, 4 * grid.width);
    y = layers_.apply("Gelu", {y}, {}, name + ".mlp.act");
    y = layers_.linear(name + ".mlp.fc2", y, 4 * grid.width, grid.width, 0.3F);
    return layers_.apply("Add", {x, y}, {}, name + ".add2");
  }

  /// Four neighbours side by side, normalised, to twice the width.
  ValueId merge(const std::string& name, ValueId x, const Grid& grid) {
    if (grid.side % 2 != 0) {
      throw Error(std::to_string(grid.side) + " rows of tokens cannot be merged two by two", name,
                  "another patch or picture size, or fewer stages");
    }
    const int64_t half = grid.side / 2;
    const int64_t wide = 4 * grid.width;
    x = layers_.reshape(x, {-1, half, 2, half, 2, grid.width});
    x = layers_.transpose(x, {0, 1, 3, 4, 2, 5});
    x = layers_.reshape(x, {-1, half * half, wide});
    x = layers_.layer_norm(name + ".norm", x, wide, kEpsilon);
    return layers_.product(name + ".reduction", x, wide, 2 * grid.width);
  }

  const SwinSpec& spec_;
  LayerBuilder layers_;
};

}  // namespace

Graph swin(std::string_view name, const SwinSpec& spec, uint64_t seed) {
  if (spec.depths.size() != spec.heads.size() || spec.depths.empty()) {
    throw Error("has " + std::to_string(spec.depths.size()) + " stages with " +
                    std::to_string(spec.heads.size()) + " numbers of heads",
                std::string(name), "one number of heads a stage");
  }
  if (spec.image % spec.patch != 0) {
    throw Error("pictures of " + std::to_string(spec.image) +
                    " pixels are no whole number of patches of " + std::to_string(spec.patch),
                std::string(name), "a patch that divides the picture");
  }
  return Builder(name, spec, seed).build();
}

}  // namespace ounce::models
