#include "engine/ops/common.h"

#include <algorithm>

#include "engine/lowering/activation.h"

namespace ounce::engine {
namespace {

/// Padding before the first pixel of one axis, explicit or implied by auto_pad.
int64_t padding_before(const AttributeMap& attributes, size_t axis, int64_t in, int64_t out,
                       int64_t kernel, int64_t stride, int64_t dilation) {
  const std::string mode = attributes.get_string("auto_pad", "NOTSET");
  if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
    const int64_t extent = (kernel - 1) * dilation + 1;
    const int64_t total = std::max<int64_t>((out - 1) * stride + extent - in, 0);
    return mode == "SAME_UPPER" ? total / 2 : total - total / 2;
  }
  if (mode == "VALID") return 0;
  return attributes.get_ints("pads", {0, 0, 0, 0}).at(axis);
}

/// The f32 bias of input 2 in steps of the output; undefined when there is none.
Tensor float_bias(const StepRequest& request, float step) {
  const Tensor* bias = request.constant(request.node.input(2));
  if (bias == nullptr || bias->dtype() != DType::f32) return {};
  Tensor steps = *bias;
  for (float& value : steps.mutable_data<float>()) value /= step;
  return steps;
}

}  // namespace

ConvShape window_shape(const StepRequest& request, int64_t kernel_h, int64_t kernel_w) {
  const AttributeMap& attributes = request.node.attributes;
  const Shape in = request.shape(request.node.input(0));
  const Shape out = request.shape(request.node.output(0));
  const std::vector<int64_t> strides = attributes.get_ints("strides", {1, 1});
  const std::vector<int64_t> dilations = attributes.get_ints("dilations", {1, 1});
  ConvShape shape;
  shape.batch = in[0];
  shape.in_h = in[1];
  shape.in_w = in[2];
  shape.in_channels = in[3];
  shape.out_h = out[1];
  shape.out_w = out[2];
  shape.out_channels = out[3];
  shape.kernel_h = kernel_h;
  shape.kernel_w = kernel_w;
  shape.stride_h = strides.at(0);
  shape.stride_w = strides.at(1);
  shape.dilation_h = dilations.at(0);
  shape.dilation_w = dilations.at(1);
  shape.pad_top = padding_before(attributes, 0, shape.in_h, shape.out_h, kernel_h, shape.stride_h,
                                 shape.dilation_h);
  shape.pad_left = padding_before(attributes, 1, shape.in_w, shape.out_w, kernel_w, shape.stride_w,
                                  shape.dilation_w);
  shape.groups = attributes.get_int("group", 1);
  return shape;
}

ConvShape conv_shape(const StepRequest& request) {
  const Shape& weight = request.constant(request.node.input(1))->shape();
  return window_shape(request, weight[2], weight[3]);
}

bool is_depthwise(const ConvShape& shape) {
  return shape.groups > 1 && shape.groups == shape.in_channels &&
         shape.groups == shape.out_channels;
}

MatrixShape matrix_shape(const StepRequest& request) {
  const Shape a = request.shape(request.node.input(0));
  const Shape c = request.shape(request.node.output(0));
  MatrixShape shape;
  shape.k = a.back();
  shape.n = c.empty() ? 1 : c.back();
  shape.m = shape.k == 0 ? 0 : element_count(a) / shape.k;
  return shape;
}

WeightLayout weight_layout(const Node& node) {
  return node.attributes.get_int("n_by_k", 0) != 0 ? WeightLayout::kNxK : WeightLayout::kKxN;
}

bool is_ternary(const Tensor& codes) {
  const std::vector<int64_t> values = codes.to_i64();
  return std::find(values.begin(), values.end(), -2) == values.end();
}

ConvShape pool_shape(const StepRequest& request) {
  const std::vector<int64_t> kernel = request.node.attributes.get_ints("kernel_shape", {1, 1});
  return window_shape(request, kernel.at(0), kernel.at(1));
}

FloatOutputPlan float_output(const StepRequest& request, int64_t columns) {
  FloatOutputPlan plan;
  if (const Tensor* bias = request.constant(request.node.input(2))) {
    plan.bias = *bias;
    plan.epilogue.bias = plan.bias.data<float>().data();
  }
  if (request.node.input(3) != kNoValue) plan.epilogue.residual_stride = columns;
  plan.epilogue.activation = load_activation(request.node.attributes);
  plan.epilogue.activation_first = request.node.attributes.get_int("activation_first", 0) != 0;
  return plan;
}

Epilogue bind(const FloatOutputPlan& plan, const RunContext& context, const Node& node) {
  Epilogue epilogue = plan.epilogue;
  epilogue.residual = context.maybe<const float>(node.input(3));
  return epilogue;
}

IntegerOutputPlan integer_output(const StepRequest& request, int64_t columns) {
  const AttributeMap& attributes = request.node.attributes;
  IntegerOutputPlan plan;
  const bool codes = attributes.has("y_scale");
  const std::vector<float> product = attributes.get_tensor("product_scales")->to_f32();
  const float y_scale = attributes.get_float("y_scale", 1.0F);
  plan.scales.assign(static_cast<size_t>(round_up(columns, kPanelColumns)), 0.0F);
  for (int64_t c = 0; c < columns; ++c) {
    const float scale = product[product.size() == 1 ? 0 : static_cast<size_t>(c)];
    plan.scales[static_cast<size_t>(c)] = codes ? scale / y_scale : scale;
  }
  IntegerEpilogue& epilogue = plan.epilogue;
  if (codes) {
    epilogue.output = IntegerOutput::kU8;
    epilogue.zero_point = static_cast<int32_t>(attributes.get_int("y_zero_point", 0));
    epilogue.lo = static_cast<int32_t>(attributes.get_int("lo", 0));
    epilogue.hi = static_cast<int32_t>(attributes.get_int("hi", 255));
    if (const Tensor* table = attributes.get_tensor("table")) {
      const auto entries = table->data<uint8_t>();
      plan.table.assign(entries.begin(), entries.end());
    }
    epilogue.residual_zero_point =
        static_cast<int32_t>(attributes.get_int("residual_zero_point", 0));
    epilogue.residual_scale = attributes.get_float("residual_scale", 0.0F) / y_scale;
    plan.bias = float_bias(request, y_scale);
  } else {
    epilogue.output = IntegerOutput::kF32;
    epilogue.f32.activation = load_activation(attributes);
    epilogue.f32.activation_first = attributes.get_int("activation_first", 0) != 0;
    plan.bias = float_bias(request, 1.0F);
    const auto vector = [&](const char* name) {
      const Tensor* values = attributes.get_tensor(name);
      return values != nullptr ? *values : Tensor();
    };
    plan.prelu_slope = vector("prelu_slope");
    plan.prelu_gain = vector("prelu_gain");
    plan.prelu_before = vector("prelu_before");
    plan.prelu_after = vector("prelu_after");
    plan.f32_residual = request.node.input(3) != kNoValue;
  }
  return plan;
}

IntegerEpilogue bind(const IntegerOutputPlan& plan, const RunContext& context, const Node& node,
                     int64_t columns) {
  IntegerEpilogue epilogue = plan.epilogue;
  epilogue.c = context.at<void>(node.output(0));
  epilogue.ldc = columns;
  epilogue.scale = plan.scales.data();
  const auto values = [](const Tensor& vector) {
    return vector.defined() ? vector.data<float>().data() : nullptr;
  };
  epilogue.f32.bias = values(plan.bias);
  epilogue.prelu_slope = values(plan.prelu_slope);
  epilogue.prelu_gain = values(plan.prelu_gain);
  epilogue.prelu_before = values(plan.prelu_before);
  epilogue.prelu_after = values(plan.prelu_after);
  if (!plan.table.empty()) epilogue.table = plan.table.data();
  if (node.input(3) != kNoValue) {
    if (plan.f32_residual) {
      epilogue.f32.residual = context.at<float>(node.input(3));
      epilogue.f32.residual_stride = columns;
    } else {
      epilogue.residual = context.at<uint8_t>(node.input(3));
      epilogue.residual_stride = columns;
    }
  }
  return epilogue;
}

const int32_t* integer_bias(const StepRequest& request) {
  const Tensor* bias = request.constant(request.node.input(2));
  return bias != nullptr && bias->dtype() == DType::i32 ? bias->data<int32_t>().data() : nullptr;
}

}  // namespace ounce::engine
