#include <cmath>

#include "models/builder.h"
#include "models/models.h"

namespace ounce::models {
namespace {

/// A linear layer of a block, on signs where the blocks are binary.
ValueId product(LayerBuilder& layers, const std::string& name, ValueId x, int64_t in, int64_t out,
                const VitSpec& spec, float gain = 1.0F) {
  if (!spec.binary) return layers.linear(name, x, in, out, gain);
  return layers.sign_linear(name, layers.binarize(name + ".sign", x, 1.0F), in, out);
}

ValueId attention(LayerBuilder& layers, const std::string& name, ValueId x, const VitSpec& spec,
                  int64_t tokens) {
  const int64_t head_dim = spec.width / spec.heads;
  ValueId qkv = product(layers, name + ".qkv", x, spec.width, 3 * spec.width, spec);
  qkv = layers.reshape(qkv, {-1, tokens, 3, spec.heads, head_dim});
  qkv = layers.transpose(qkv, {2, 0, 3, 1, 4});  // [3, batch, heads, tokens, head_dim]
  AttributeMap first_axis;
  first_axis.set("axis", int64_t{0});
  const auto part = [&](int64_t index) {
    return layers.apply("Gather", {qkv, layers.constant("index", Tensor::scalar(index))},
                        first_axis, name + ".select");
  };
  ValueId q = part(0);
  ValueId k = part(1);
  ValueId v = part(2);
  if (spec.binary) {
    q = layers.binarize(name + ".q_sign", layers.layer_norm(name + ".q_norm", q, head_dim), 0.8F);
    k = layers.binarize(name + ".k_sign", layers.layer_norm(name + ".k_norm", k, head_dim), 0.8F);
    v = layers.binarize(name + ".v_sign", v, 0.5F);
  }
  k = layers.transpose(k, {0, 1, 3, 2});
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  ValueId map = layers.apply("MatMul", {q, k}, {}, name + ".scores");
  map = layers.apply("Mul", {map, layers.constant("scale", Tensor::scalar(scale))}, {},
                     name + ".scale");
  AttributeMap last_axis;
  last_axis.set("axis", int64_t{-1});
  map = layers.apply("Softmax", {map}, last_axis, name + ".softmax");
  if (spec.binary) {
    // The threshold is at the uniform level, 1 / tokens.
    const float level = 2.0F / static_cast<float>(tokens);
    map = layers.binarize(name + ".map_bits", map, level, /*is_map=*/true);
  }
  ValueId y = layers.apply("MatMul", {map, v}, {}, name + ".mix");
  y = layers.reshape(layers.transpose(y, {0, 2, 1, 3}), {-1, tokens, spec.width});
  return product(layers, name + ".proj", y, spec.width, spec.width, spec, 0.3F);
}

ValueId mlp(LayerBuilder& layers, const std::string& name, ValueId x, const VitSpec& spec) {
  const int64_t width = spec.width;
  ValueId y = product(layers, name + ".fc1", x, width, 4 * width, spec);
  if (!spec.binary) y = layers.apply("Gelu", {y}, {}, name + ".act");
  return product(layers, name + ".fc2", y, 4 * width, width, spec, 0.3F);
}

/// The token `name` for every picture of the batch [batch, 1, width]: a zero row of each of the
/// patches `x` plus the token.
ValueId token_of_batch(LayerBuilder& layers, const std::string& name, ValueId x, int64_t width) {
  const ValueId token = layers.constant(name, layers.normal({1, 1, width}, 0.02F));
  const ValueId row = layers.apply("Slice", {x, layers.constant("start", Tensor::of_i64({0})),
                                             layers.constant("end", Tensor::of_i64({1})),
                                             layers.constant("axis", Tensor::of_i64({1}))});
  const ValueId zero = layers.constant("zero", Tensor::scalar(0.0F));
  return layers.apply("Add", {layers.apply("Mul", {row, zero}), token}, {}, name + "_of_batch");
}

/// Patches with positions, behind the tokens that heads read: [batch, tokens, width].
ValueId embedding(LayerBuilder& layers, const VitSpec& spec, int64_t patches, int64_t tokens) {
  ValueId x = layers.image_input(spec.image);
  x = layers.conv("patch_embed.proj", x, 3,
                  {.out_channels = spec.width, .kernel = spec.patch, .stride = spec.patch});
  x = layers.transpose(layers.reshape(x, {0, spec.width, patches}), {0, 2, 1});
  std::vector<ValueId> rows = {token_of_batch(layers, "cls_token", x, spec.width)};
  if (spec.distilled) rows.push_back(token_of_batch(layers, "dist_token", x, spec.width));
  rows.push_back(x);
  AttributeMap axis;
  axis.set("axis", int64_t{1});
  x = layers.apply("Concat", rows, axis, "tokens");
  return layers.apply(
      "Add", {x, layers.constant("pos_embed", layers.normal({1, tokens, spec.width}, 0.02F))}, {},
      "embed");
}

/// The logits that head `name` reads off token `index`.
ValueId head(LayerBuilder& layers, const std::string& name, const std::string& token, ValueId x,
             int64_t index, const VitSpec& spec) {
  AttributeMap axis;
  axis.set("axis", int64_t{1});
  const ValueId place = layers.constant(token + "_index", Tensor::scalar(index));
  const ValueId row = layers.apply("Gather", {x, place}, axis, token);
  return layers.linear(name, row, spec.width, spec.classes);
}

}  // namespace

Graph vit(std::string_view name, const VitSpec& spec, uint64_t seed) {
  LayerBuilder layers(name, seed);
  if (spec.zero_biases) layers.zero_biases();
  const int64_t side = spec.image / spec.patch;
  const int64_t patches = side * side;
  const int64_t tokens = patches + (spec.distilled ? 2 : 1);
  ValueId x = embedding(layers, spec, patches, tokens);
  for (int64_t block = 0; block < spec.depth; ++block) {
    const std::string scope = "blocks." + std::to_string(block);
    ValueId y = layers.layer_norm(scope + ".norm1", x, spec.width);
    y = attention(layers, scope + ".attn", y, spec, tokens);
    x = layers.apply("Add", {x, y}, {}, scope + ".add1");
    y = layers.layer_norm(scope + ".norm2", x, spec.width);
    x = layers.apply("Add", {x, mlp(layers, scope + ".mlp", y, spec)}, {}, scope + ".add2");
  }
  x = layers.layer_norm("norm", x, spec.width);
  const ValueId logits = head(layers, "head", "class_token", x, 0, spec);
  if (!spec.distilled) return layers.finish(logits, "logits");
  const ValueId taught = head(layers, "head_dist", "distillation_token", x, 1, spec);
  layers.rename(logits, "head.logits");
  layers.rename(taught, "head_dist.logits");
  const ValueId both = layers.apply("Add", {logits, taught}, {}, "heads.sum");
  const ValueId half = layers.constant("half", Tensor::scalar(0.5F));
  return layers.finish(layers.apply("Mul", {both, half}, {}, "heads.mean"), "logits");
}

}  // namespace ounce::models
