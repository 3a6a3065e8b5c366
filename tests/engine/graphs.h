#pragma once

#include <string>
#include <string_view>

#include "graph/graph.h"
#include "tests/support/tensors.h"

namespace ounce::testing {

/// Builds small graphs for engine tests: every method appends a node and returns its output.
class GraphBuilder {
 public:
  Graph graph;

  ValueId input(std::string_view name, Shape shape) {
    return graph.add_input(name, DType::f32, symbolic(shape));
  }
  ValueId constant(Tensor tensor) { return graph.add_constant("constant", std::move(tensor)); }
  ValueId weights(Shape shape, float scale = 0.3F) {
    return constant(random_tensor(std::move(shape), ++seed_, scale));
  }
  ValueId node(std::string_view op, std::vector<ValueId> inputs, AttributeMap attributes = {}) {
    return graph.add_node(op, std::move(inputs), std::move(attributes));
  }
  ValueId conv(ValueId x, Shape weight, int64_t stride, int64_t pad, int64_t group = 1) {
    AttributeMap attributes;
    attributes.set("strides", std::vector<int64_t>{stride, stride});
    attributes.set("pads", std::vector<int64_t>{pad, pad, pad, pad});
    attributes.set("group", group);
    const int64_t channels = weight[0];
    const ValueId w = weights(std::move(weight));
    return node("Conv", {x, w, weights({channels})}, std::move(attributes));
  }
  ValueId transpose(ValueId x, std::vector<int64_t> perm) {
    AttributeMap attributes;
    attributes.set("perm", std::move(perm));
    return node("Transpose", {x}, std::move(attributes));
  }
  ValueId reshape(ValueId x, std::vector<int64_t> shape) {
    return node("Reshape", {x, constant(Tensor::of_i64(std::move(shape)))});
  }
  /// Twice the height and width, by repetition.
  ValueId upsample(ValueId x) {
    AttributeMap nearest;
    nearest.set("mode", std::string("nearest"));
    nearest.set("coordinate_transformation_mode", std::string("asymmetric"));
    nearest.set("nearest_mode", std::string("floor"));
    const ValueId scales = constant(Tensor::of(std::vector<float>{1, 1, 2, 2}, {4}));
    return node("Resize", {x, kNoValue, scales}, std::move(nearest));
  }
  ValueId quantize(ValueId x, float scale, uint8_t zero_point) {
    return node("QuantizeLinear",
                {x, constant(Tensor::scalar(scale)), constant(Tensor::scalar(zero_point))});
  }
  ValueId dequantize(ValueId codes, float scale, uint8_t zero_point) {
    return node("DequantizeLinear",
                {codes, constant(Tensor::scalar(scale)), constant(Tensor::scalar(zero_point))});
  }
  ValueId fake_quantize(ValueId x, float scale, uint8_t zero_point) {
    return dequantize(quantize(x, scale, zero_point), scale, zero_point);
  }
  /// s8 codes with one scale a slice of `axis`, dequantized.
  ValueId quantized_weights(const Shape& shape, int64_t axis) {
    const Tensor values = random_tensor(shape, ++seed_, 127.0F);
    const int64_t channels = shape[static_cast<size_t>(axis)];
    std::vector<float> scales;
    for (const float v : random_values(channels, ++seed_)) scales.push_back(0.004F + 0.001F * v);
    AttributeMap attributes;
    attributes.set("axis", axis);
    return node("DequantizeLinear",
                {constant(cast(values, DType::i8)), constant(Tensor::of(scales, {channels})),
                 constant(Tensor(DType::i8, {channels}))},
                std::move(attributes));
  }
  /// Codes of a narrow type with one scale a slice of `axis` or, with `block`, a block along it.
  ValueId low_bit_weights(const Shape& shape, DType dtype, int64_t axis, int64_t block = 0) {
    Shape scale_shape = {shape[static_cast<size_t>(axis)]};
    if (block != 0) {
      scale_shape = shape;
      int64_t& blocks = scale_shape[static_cast<size_t>(axis)];
      blocks = (blocks + block - 1) / block;
    }
    std::vector<float> scales;
    for (const float v : random_values(element_count(scale_shape), ++seed_)) {
      scales.push_back(0.05F + 0.01F * v);
    }
    AttributeMap attributes;
    attributes.set("axis", axis);
    if (block != 0) attributes.set("block_size", block);
    // Wider than the type, so that casting fills it to its ends.
    const float width = dtype == DType::u1 ? 1.0F : static_cast<float>(1 << bits_of(dtype)) / 1.5F;
    const Tensor codes = cast(random_tensor(shape, ++seed_, width), dtype);
    return node("DequantizeLinear", {constant(codes), constant(Tensor::of(scales, scale_shape))},
                attributes);
  }
  ValueId conv_with(ValueId x, ValueId weights, int64_t stride, int64_t pad, int64_t group = 1,
                    ValueId bias = kNoValue) {
    AttributeMap attributes;
    attributes.set("strides", std::vector<int64_t>{stride, stride});
    attributes.set("pads", std::vector<int64_t>{pad, pad, pad, pad});
    attributes.set("group", group);
    return node("Conv", {x, weights, bias}, std::move(attributes));
  }
  ValueId binarize(ValueId x, float scale, bool is_map = false) {
    AttributeMap attributes;
    attributes.set("unsigned", int64_t{is_map});
    return node("Binarize", {x, constant(Tensor::scalar(scale))}, std::move(attributes));
  }
  ValueId quantized_conv(ValueId x, const Shape& weight, int64_t stride, int64_t pad,
                         int64_t group = 1) {
    AttributeMap attributes;
    attributes.set("strides", std::vector<int64_t>{stride, stride});
    attributes.set("pads", std::vector<int64_t>{pad, pad, pad, pad});
    attributes.set("group", group);
    return node("Conv", {x, quantized_weights(weight, 0), weights({weight[0]}, 0.2F)},
                std::move(attributes));
  }
  void output(ValueId value) { graph.outputs.push_back(value); }

 private:
  uint32_t seed_ = 0;
};

}  // namespace ounce::testing
