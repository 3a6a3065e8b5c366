#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace ounce::models {

/// Appends layers with seeded random weights to a graph: what the architecture builders share.
/// Weights are normal with the variance that keeps activations in range (He et al. 2015); equal
/// seeds give equal models on every machine.
class LayerBuilder {
 public:
  LayerBuilder(std::string_view name, uint64_t seed) : state_(seed) { graph_.name = name; }

  /// Biases of the layers that follow, and shifts of their layer norms, are 0 instead of random.
  void zero_biases() { random_biases_ = false; }

  /// pixels [batch, 3, size, size] with a free batch.
  ValueId image_input(int64_t size);
  /// pixels [batch, 3, height, width] with all but the channels free.
  ValueId picture_input();

  struct Convolution {
    int64_t out_channels = 0;
    int64_t kernel = 1;
    int64_t stride = 1;
    int64_t padding = 0;
    int64_t groups = 1;
    float gain = 1.0F;  // times the standard deviation of the weights
    bool bias = true;
  };
  /// x [batch, C, H, W] -> [batch, out_channels, ..].
  ValueId conv(std::string_view name, ValueId x, int64_t in_channels, const Convolution& spec);
  /// x [.., in] -> [.., out] as MatMul and Add, the way exporters write nn.Linear.
  ValueId linear(std::string_view name, ValueId x, int64_t in, int64_t out, float gain = 1.0F);
  /// The same without the Add.
  ValueId product(std::string_view name, ValueId x, int64_t in, int64_t out, float gain = 1.0F);
  /// Scale 1, shift 0, running mean 0 and variance 1: a network that is to be trained.
  ValueId batch_norm(std::string_view name, ValueId x, int64_t channels);
  ValueId layer_norm(std::string_view name, ValueId x, int64_t width, float epsilon = 1e-6F);

  /// scale * sign(x), or with `is_map` scale * (x > scale / 2).
  ValueId binarize(std::string_view name, ValueId x, float scale, bool is_map = false);
  /// Random signs with one scale an output channel (`axis`), dequantized; the scale keeps sums of
  /// `fan_in` products of signs in range.
  ValueId sign_weights(std::string_view name, Shape shape, int64_t axis, int64_t fan_in);
  /// As `conv` and `linear`, with weights of one bit. `linear` without a bias.
  ValueId sign_conv(std::string_view name, ValueId x, int64_t in_channels, const Convolution& spec);
  ValueId sign_linear(std::string_view name, ValueId x, int64_t in, int64_t out);

  /// Every second pixel, and zeros for the channels that x does not have (He et al. 2016, option
  /// A).
  ValueId padded_shortcut(std::string_view name, ValueId x, int64_t in, int64_t out);

  /// Whole numbers, a constant [count].
  ValueId integers(std::vector<int64_t> values);
  /// How long an axis of x is. i64 [1]
  ValueId size_of(ValueId x, int64_t axis);
  /// x from `starts` to before `ends` (i64 [axes]) along these axes.
  ValueId slice(std::string_view name, ValueId x, std::vector<int64_t> axes, ValueId starts,
                ValueId ends);

  ValueId add(std::string_view name, ValueId a, ValueId b);
  /// x < 0 ? slope * x : x
  ValueId leaky_relu(std::string_view name, ValueId x, float slope);
  ValueId concat(std::string_view name, std::vector<ValueId> parts, int64_t axis);
  /// The channels of x [batch, C, H, W] in parts of these sizes.
  std::vector<ValueId> split_channels(std::string_view name, ValueId x, std::vector<int64_t> sizes);
  /// x [batch, C * scale^2, H, W] -> [batch, C, H * scale, W * scale]; the channels of one pixel
  /// become a square of pixels (Shi et al. 2016).
  ValueId pixel_shuffle(std::string_view name, ValueId x, int64_t scale);

  /// x [batch, C, H, W] scaled bilinearly: `scale` times as large, or as large as `other` is.
  ValueId enlarge(std::string_view name, ValueId x, int64_t scale);
  ValueId resize_like(std::string_view name, ValueId x, ValueId other);

  ValueId apply(std::string_view op, std::vector<ValueId> inputs, AttributeMap attributes = {},
                std::string_view name = {});
  ValueId reshape(ValueId x, std::vector<int64_t> shape);
  ValueId transpose(ValueId x, std::vector<int64_t> perm);
  ValueId constant(std::string_view name, Tensor tensor);
  Tensor normal(Shape shape, float deviation);

  /// Ends the graph with `result` as its only output, shapes inferred.
  void rename(ValueId value, std::string_view name) { graph_.rename_value(value, name); }

  Graph finish(ValueId result, std::string_view output_name);

 private:
  float next_normal();
  /// Of the node that was added last, from its name.
  void set_scope(std::string_view name);
  Tensor shift(int64_t count, float deviation);
  ValueId convolve(std::string_view name, ValueId x, ValueId weight, const Convolution& spec);

  Graph graph_;
  uint64_t state_;
  bool random_biases_ = true;
};

}  // namespace ounce::models
