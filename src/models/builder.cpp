#include "models/builder.h"

#include <cmath>

#include "graph/operator.h"

namespace ounce::models {
namespace {

Tensor ones(int64_t count) {
  Tensor tensor(DType::f32, {count});
  for (float& value : tensor.mutable_data<float>()) value = 1.0F;
  return tensor;
}

}  // namespace

ValueId LayerBuilder::image_input(int64_t size) {
  return graph_.add_input("pixels", DType::f32, {Dim("batch"), Dim(3), Dim(size), Dim(size)});
}

ValueId LayerBuilder::picture_input() {
  return graph_.add_input("pixels", DType::f32,
                          {Dim("batch"), Dim(3), Dim("height"), Dim("width")});
}

ValueId LayerBuilder::conv(std::string_view name, ValueId x, int64_t in_channels,
                           const Convolution& spec) {
  const Shape shape = {spec.out_channels, in_channels / spec.groups, spec.kernel, spec.kernel};
  const auto fan_in = static_cast<float>(shape[1] * spec.kernel * spec.kernel);
  const std::string base(name);
  const ValueId weight =
      constant(base + ".weight", normal(shape, spec.gain * std::sqrt(2.0F / fan_in)));
  return convolve(name, x, weight, spec);
}

ValueId LayerBuilder::convolve(std::string_view name, ValueId x, ValueId weight,
                               const Convolution& spec) {
  std::vector<ValueId> inputs = {x, weight};
  if (spec.bias) {
    inputs.push_back(constant(std::string(name) + ".bias", shift(spec.out_channels, 0.05F)));
  }
  AttributeMap attributes;
  attributes.set("kernel_shape", std::vector<int64_t>{spec.kernel, spec.kernel});
  attributes.set("strides", std::vector<int64_t>{spec.stride, spec.stride});
  attributes.set("pads", std::vector<int64_t>(4, spec.padding));
  attributes.set("group", spec.groups);
  return apply("Conv", std::move(inputs), std::move(attributes), name);
}

ValueId LayerBuilder::linear(std::string_view name, ValueId x, int64_t in, int64_t out,
                             float gain) {
  const std::string base(name);
  const ValueId sums = product(name, x, in, out, gain);
  return add(base + ".add", sums, constant(base + ".bias", shift(out, 0.05F)));
}

ValueId LayerBuilder::product(std::string_view name, ValueId x, int64_t in, int64_t out,
                              float gain) {
  const float deviation = gain / std::sqrt(static_cast<float>(in));
  const ValueId weight = constant(std::string(name) + ".weight", normal({in, out}, deviation));
  return apply("MatMul", {x, weight}, {}, name);
}

ValueId LayerBuilder::batch_norm(std::string_view name, ValueId x, int64_t channels) {
  const std::string base(name);
  const Tensor zeros(DType::f32, {channels});
  return apply(
      "BatchNormalization",
      {x, constant(base + ".weight", ones(channels)), constant(base + ".bias", zeros),
       constant(base + ".running_mean", zeros), constant(base + ".running_var", ones(channels))},
      {}, name);
}

ValueId LayerBuilder::layer_norm(std::string_view name, ValueId x, int64_t width, float epsilon) {
  const std::string base(name);
  AttributeMap attributes;
  attributes.set("axis", int64_t{-1});
  attributes.set("epsilon", epsilon);
  return apply(
      "LayerNormalization",
      {x, constant(base + ".weight", ones(width)), constant(base + ".bias", shift(width, 0.02F))},
      std::move(attributes), name);
}

ValueId LayerBuilder::binarize(std::string_view name, ValueId x, float scale, bool is_map) {
  AttributeMap attributes;
  if (is_map) attributes.set("unsigned", int64_t{1});
  return apply("Binarize", {x, constant("scale", Tensor::scalar(scale))}, std::move(attributes),
               name);
}

ValueId LayerBuilder::sign_weights(std::string_view name, Shape shape, int64_t axis,
                                   int64_t fan_in) {
  const int64_t channels = shape[static_cast<size_t>(axis)];
  std::vector<float> scales(static_cast<size_t>(channels));
  for (float& scale : scales) {
    scale = (1.0F + 0.1F * next_normal()) / std::sqrt(static_cast<float>(fan_in));
  }
  Tensor signs = normal(std::move(shape), 1.0F);
  for (float& value : signs.mutable_data<float>()) value = value < 0.0F ? 1.0F : 0.0F;
  const std::string base(name);
  AttributeMap attributes;
  attributes.set("axis", axis);
  return apply("DequantizeLinear",
               {constant(base + ".weight", cast(signs, DType::u1)),
                constant(base + ".scale", Tensor::of(scales, {channels}))},
               std::move(attributes), base + ".weights");
}

ValueId LayerBuilder::sign_conv(std::string_view name, ValueId x, int64_t in_channels,
                                const Convolution& spec) {
  const Shape shape = {spec.out_channels, in_channels / spec.groups, spec.kernel, spec.kernel};
  const int64_t fan_in = shape[1] * spec.kernel * spec.kernel;
  return convolve(name, x, sign_weights(name, shape, 0, fan_in), spec);
}

ValueId LayerBuilder::sign_linear(std::string_view name, ValueId x, int64_t in, int64_t out) {
  return apply("MatMul", {x, sign_weights(name, {in, out}, 1, in)}, {}, name);
}

ValueId LayerBuilder::padded_shortcut(std::string_view name, ValueId x, int64_t in, int64_t out) {
  const std::string base(name);
  x = apply(
      "Slice",
      {x, integers({0, 0}), integers({INT64_MAX, INT64_MAX}), integers({2, 3}), integers({2, 2})},
      {}, base + ".slice");
  const int64_t before = (out - in) / 2;
  return apply("Pad", {x, integers({0, before, 0, 0, 0, out - in - before, 0, 0})}, {},
               base + ".pad");
}

ValueId LayerBuilder::integers(std::vector<int64_t> values) {
  return constant("integers", Tensor::of_i64(std::move(values)));
}

ValueId LayerBuilder::size_of(ValueId x, int64_t axis) {
  AttributeMap attributes;
  attributes.set("start", axis);
  attributes.set("end", axis + 1);
  return apply("Shape", {x}, std::move(attributes));
}

ValueId LayerBuilder::slice(std::string_view name, ValueId x, std::vector<int64_t> axes,
                            ValueId starts, ValueId ends) {
  return apply("Slice", {x, starts, ends, integers(std::move(axes))}, {}, name);
}

ValueId LayerBuilder::add(std::string_view name, ValueId a, ValueId b) {
  return apply("Add", {a, b}, {}, name);
}

ValueId LayerBuilder::leaky_relu(std::string_view name, ValueId x, float slope) {
  AttributeMap attributes;
  attributes.set("alpha", slope);
  return apply("LeakyRelu", {x}, std::move(attributes), name);
}

ValueId LayerBuilder::concat(std::string_view name, std::vector<ValueId> parts, int64_t axis) {
  AttributeMap attributes;
  attributes.set("axis", axis);
  return apply("Concat", std::move(parts), std::move(attributes), name);
}

std::vector<ValueId> LayerBuilder::split_channels(std::string_view name, ValueId x,
                                                  std::vector<int64_t> sizes) {
  AttributeMap attributes;
  attributes.set("axis", int64_t{1});
  const size_t count = sizes.size();
  const ValueId lengths = constant("sizes", Tensor::of_i64(std::move(sizes)));
  graph_.add_node("Split", {x, lengths}, std::move(attributes), name, count);
  set_scope(name);
  return graph_.nodes.back().outputs;
}

ValueId LayerBuilder::pixel_shuffle(std::string_view name, ValueId x, int64_t scale) {
  AttributeMap attributes;
  attributes.set("blocksize", scale);
  attributes.set("mode", "CRD");
  return apply("DepthToSpace", {x}, std::move(attributes), name);
}

ValueId LayerBuilder::enlarge(std::string_view name, ValueId x, int64_t scale) {
  const auto factor = static_cast<float>(scale);
  AttributeMap attributes;
  attributes.set("mode", "linear");
  const ValueId scales = constant("scales", Tensor::of<float>({1, 1, factor, factor}, {4}));
  return apply("Resize", {x, kNoValue, scales}, std::move(attributes), name);
}

ValueId LayerBuilder::resize_like(std::string_view name, ValueId x, ValueId other) {
  AttributeMap sides;
  sides.set("start", int64_t{2});
  sides.set("end", int64_t{4});
  AttributeMap attributes;
  attributes.set("mode", "linear");
  attributes.set("axes", std::vector<int64_t>{2, 3});
  const ValueId sizes = apply("Shape", {other}, std::move(sides), std::string(name) + ".sides");
  return apply("Resize", {x, kNoValue, kNoValue, sizes}, std::move(attributes), name);
}

ValueId LayerBuilder::apply(std::string_view op, std::vector<ValueId> inputs,
                            AttributeMap attributes, std::string_view name) {
  const ValueId result =
      graph_.add_node(op, std::move(inputs), std::move(attributes), name.empty() ? op : name);
  set_scope(name);
  return result;
}

void LayerBuilder::set_scope(std::string_view name) {
  // The scope of "layer1.0.conv2" is "layer1.0".
  const size_t dot = name.rfind('.');
  if (dot != std::string_view::npos) graph_.nodes.back().scope = std::string(name.substr(0, dot));
}

ValueId LayerBuilder::reshape(ValueId x, std::vector<int64_t> shape) {
  return apply("Reshape", {x, constant("shape", Tensor::of_i64(std::move(shape)))});
}

ValueId LayerBuilder::transpose(ValueId x, std::vector<int64_t> perm) {
  AttributeMap attributes;
  attributes.set("perm", std::move(perm));
  return apply("Transpose", {x}, std::move(attributes));
}

ValueId LayerBuilder::constant(std::string_view name, Tensor tensor) {
  return graph_.add_constant(name, std::move(tensor));
}

Tensor LayerBuilder::normal(Shape shape, float deviation) {
  Tensor tensor(DType::f32, std::move(shape));
  for (float& value : tensor.mutable_data<float>()) value = deviation * next_normal();
  return tensor;
}

Tensor LayerBuilder::shift(int64_t count, float deviation) {
  return random_biases_ ? normal({count}, deviation) : Tensor(DType::f32, {count});
}

Graph LayerBuilder::finish(ValueId result, std::string_view output_name) {
  graph_.rename_value(result, output_name);
  graph_.outputs = {result};
  infer_shapes(graph_);
  graph_.validate();
  return std::move(graph_);
}

float LayerBuilder::next_normal() {
  // Twelve uniform values from a 64-bit congruential generator (Knuth's constants): their sum has
  // variance 1 and needs no library function whose last bit could differ between machines.
  float sum = -6.0F;
  for (int i = 0; i < 12; ++i) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    sum += static_cast<float>(state_ >> 40) / 16777216.0F;
  }
  return sum;
}

}  // namespace ounce::models
