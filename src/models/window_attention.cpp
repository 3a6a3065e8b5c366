#include "models/window_attention.h"

#include <cmath>
#include <limits>

namespace ounce::models {
namespace {

/// For every pair of tokens of a window the row of the bias table that their distance has.
Tensor distance_rows(int64_t window) {
  const int64_t span = 2 * window - 1;
  const int64_t tokens = window * window;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < tokens; ++i) {
    for (int64_t j = 0; j < tokens; ++j) {
      const int64_t down = i / window - j / window + window - 1;
      const int64_t right = i % window - j % window + window - 1;
      rows.push_back(down * span + right);
    }
  }
  return Tensor::of_i64(std::move(rows));
}

}  // namespace

ValueId window_attention(LayerBuilder& layers, const std::string& name, ValueId x,
                         const WindowAttention& spec, const std::function<ValueId()>& score_bias) {
  const int64_t head_dim = spec.width / spec.heads;
  const std::string qkv_name = name + ".qkv";
  ValueId qkv = spec.qkv_bias ? layers.linear(qkv_name, x, spec.width, 3 * spec.width)
                              : layers.product(qkv_name, x, spec.width, 3 * spec.width);
  qkv = layers.reshape(qkv, {0, 0, 0, 3, spec.heads, head_dim});
  qkv = layers.transpose(qkv, {3, 0, 1, 4, 2, 5});
  AttributeMap first_axis;
  first_axis.set("axis", int64_t{0});
  const auto part = [&](int64_t index) {
    return layers.apply("Gather", {qkv, layers.constant("index", Tensor::scalar(index))},
                        first_axis, name + ".select");
  };
  const ValueId q = part(0);
  const ValueId k = layers.transpose(part(1), {0, 1, 2, 4, 3});
  const ValueId v = part(2);
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  ValueId map = layers.apply("MatMul", {q, k}, {}, name + ".scores");
  map = layers.apply("Mul", {map, layers.constant("scale", Tensor::scalar(scale))}, {},
                     name + ".scale");
  if (score_bias) map = layers.add(name + ".bias", map, score_bias());
  AttributeMap last_axis;
  last_axis.set("axis", int64_t{-1});
  map = layers.apply("Softmax", {map}, last_axis, name + ".softmax");
  ValueId y = layers.apply("MatMul", {map, v}, {}, name + ".mix");
  y = layers.reshape(layers.transpose(y, {0, 1, 3, 2, 4}), {0, 0, 0, spec.width});
  return layers.linear(name + "." + std::string(spec.projection), y, spec.width, spec.width, 0.3F);
}

ValueId position_biases(LayerBuilder& layers, const std::string& name, int64_t window,
                        int64_t heads) {
  const int64_t span = 2 * window - 1;
  const int64_t tokens = window * window;
  const ValueId table = layers.constant(name + ".relative_position_bias_table",
                                        layers.normal({span * span, heads}, 0.02F));
  const ValueId rows = layers.constant(name + ".relative_position_index", distance_rows(window));
  ValueId bias = layers.apply("Gather", {table, rows}, {}, name + ".position_biases");
  bias = layers.reshape(bias, {tokens, tokens, heads});
  return layers.transpose(bias, {2, 0, 1});
}

ValueId roll(LayerBuilder& layers, const std::string& name, ValueId x, int64_t axis,
             int64_t first) {
  const auto part = [&](int64_t begin, int64_t end) {
    return layers.slice(name + ".part", x, {axis}, layers.integers({begin}),
                        layers.integers({end}));
  };
  return layers.concat(name, {part(first, std::numeric_limits<int64_t>::max()), part(0, first)},
                       axis);
}

PictureWindows::PictureWindows(LayerBuilder& layers, std::string_view name, ValueId x,
                               int64_t window, int64_t features)
    : layers_(layers), name_(name), x_(x), window_(window), features_(features) {
  const ValueId side = layers.integers({window});
  width_ = layers.size_of(x, 2);
  down_ = layers.apply("Div", {layers.size_of(x, 1), side}, {}, name_ + ".down");
  across_ = layers.apply("Div", {width_, side}, {}, name_ + ".across");
}

ValueId PictureWindows::cut() {
  const ValueId shape = layers_.concat(
      name_ + ".cut_shape",
      {layers_.integers({0, -1, window_}), across_, layers_.integers({window_, features_})}, 0);
  const ValueId rows = layers_.apply("Reshape", {x_, shape}, {}, name_ + ".cut");
  return layers_.reshape(layers_.transpose(rows, {0, 1, 3, 2, 4, 5}),
                         {0, -1, window_ * window_, features_});
}

ValueId PictureWindows::join(ValueId tokens) {
  const ValueId windows = layers_.concat(
      name_ + ".window_shape",
      {layers_.integers({0, -1}), across_, layers_.integers({window_, window_, features_})}, 0);
  const ValueId picture =
      layers_.concat(name_ + ".picture_shape",
                     {layers_.integers({0, -1}), width_, layers_.integers({features_})}, 0);
  ValueId y = layers_.apply("Reshape", {tokens, windows}, {}, name_ + ".join");
  y = layers_.transpose(y, {0, 1, 3, 2, 4, 5});
  return layers_.apply("Reshape", {y, picture}, {}, name_ + ".picture");
}

}  // namespace ounce::models
