#include "engine/kernels/int8/quantized.h"

#include <algorithm>

#include "engine/lowering/quantized_view.h"
#include "engine/ops/factories.h"

namespace ounce::engine {
namespace {

int64_t elements(const StepRequest& request, ValueId id) {
  return element_count(request.shape(id));
}

int32_t int_attribute(const StepRequest& request, std::string_view name, int64_t fallback = 0) {
  return static_cast<int32_t>(request.node.attributes.get_int(name, fallback));
}

float float_attribute(const StepRequest& request, std::string_view name) {
  return request.node.attributes.get_float(name, 1.0F);
}

}  // namespace

std::unique_ptr<Step> make_lookup(const StepRequest& request) {
  const ValueId x = request.node.input(0);
  const ValueId y = request.node.output(0);
  const auto entries = request.node.attributes.get_tensor("table")->data<uint8_t>();
  AlignedVector<uint8_t> table(entries.begin(), entries.end());
  const int64_t count = elements(request, y);
  return make_step("lookup_u8", [=, table = std::move(table)](const RunContext& context) {
    lookup_u8(context.kernels, context.at<const uint8_t>(x), context.at<uint8_t>(y), count,
              table.data());
  });
}

std::unique_ptr<Step> make_integer_add(const StepRequest& request) {
  const Node& node = request.node;
  AddU8 add =
      add_parameters(float_attribute(request, "a_scale"), int_attribute(request, "a_zero_point"),
                     float_attribute(request, "b_scale"), int_attribute(request, "b_zero_point"),
                     float_attribute(request, "y_scale"), int_attribute(request, "y_zero_point"));
  add.lo = int_attribute(request, "lo");
  add.hi = int_attribute(request, "hi", 255);
  const ValueId a = node.input(0);
  const ValueId b = node.input(1);
  const ValueId y = node.output(0);
  const int64_t count = elements(request, y);
  return make_step("add_u8", [=](const RunContext& context) {
    add_u8(context.kernels, context.at<const uint8_t>(a), context.at<const uint8_t>(b),
           context.at<uint8_t>(y), count, add);
  });
}

std::unique_ptr<Step> make_integer_mul(const StepRequest& request) {
  const Node& node = request.node;
  MulU8 mul;
  mul.scale = float_attribute(request, "a_scale") * float_attribute(request, "b_scale") /
              float_attribute(request, "y_scale");
  mul.a_zero_point = int_attribute(request, "a_zero_point");
  mul.b_zero_point = int_attribute(request, "b_zero_point");
  mul.zero_point = int_attribute(request, "y_zero_point");
  mul.lo = int_attribute(request, "lo");
  mul.hi = int_attribute(request, "hi", 255);
  ValueId a = node.input(0);
  ValueId b = node.input(1);
  const ValueId y = node.output(0);
  const int64_t count = elements(request, y);
  if (elements(request, a) == elements(request, b)) {
    return make_step("mul_u8", [=](const RunContext& context) {
      mul_u8(context.kernels, context.at<const uint8_t>(a), context.at<const uint8_t>(b),
             context.at<uint8_t>(y), count, mul);
    });
  }
  // One gate a channel: the smaller operand is [N, 1, 1, C] (channels-last).
  if (elements(request, a) < elements(request, b)) {
    std::swap(a, b);
    std::swap(mul.a_zero_point, mul.b_zero_point);
  }
  const int64_t columns = request.shape(y).back();
  const int64_t rows = count / columns;
  const int64_t rows_per_b = rows / (elements(request, b) / columns);
  return make_step("mul_rows_u8", [=](const RunContext& context) {
    mul_rows_u8(context.kernels, context.at<const uint8_t>(a), context.at<const uint8_t>(b),
                context.at<uint8_t>(y), rows, columns, rows_per_b, mul);
  });
}

std::unique_ptr<Step> make_quantize(const StepRequest& request) {
  const Node& node = request.node;
  const ValueId x = node.input(0);
  const ValueId y = node.output(0);
  const DType dtype = request.dtype(y);
  const auto quantization = tensor_quantization(request.graph, node, dtype);
  if (!quantization || request.dtype(x) != DType::f32) return nullptr;
  const int64_t count = elements(request, y);
  if (dtype == DType::u8) {
    const QuantizeU8 parameters = {quantization->scale, quantization->zero_point,
                                   int_attribute(request, "lo"), int_attribute(request, "hi", 255)};
    return make_step("quantize_u8", [=](const RunContext& context) {
      quantize_u8(context.kernels, context.at<const float>(x), context.at<uint8_t>(y), count,
                  parameters);
    });
  }
  if (dtype != DType::i8) return nullptr;
  return make_step("quantize_s8", [=, q = *quantization](const RunContext& context) {
    quantize_s8(context.kernels, context.at<const float>(x), context.at<int8_t>(y), count, q.scale,
                q.zero_point);
  });
}

std::unique_ptr<Step> make_dequantize(const StepRequest& request) {
  const Node& node = request.node;
  const ValueId x = node.input(0);
  const ValueId y = node.output(0);
  const DType dtype = request.dtype(x);
  const auto quantization = tensor_quantization(request.graph, node, dtype);
  if (!quantization || request.dtype(y) != DType::f32) return nullptr;
  const int64_t count = elements(request, y);
  if (dtype == DType::u8) {
    return make_step("dequantize_u8", [=, q = *quantization](const RunContext& context) {
      dequantize_u8(context.kernels, context.at<const uint8_t>(x), context.at<float>(y), count,
                    q.scale, q.zero_point);
    });
  }
  if (dtype != DType::i8) return nullptr;
  return make_step("dequantize_s8", [=, q = *quantization](const RunContext& context) {
    dequantize_s8(context.kernels, context.at<const int8_t>(x), context.at<float>(y), count,
                  q.scale, q.zero_point);
  });
}

}  // namespace ounce::engine
