#include "engine/kernels/tensor/pool.h"

#include "engine/ops/common.h"
#include "engine/ops/factories.h"

namespace ounce::engine {
namespace {

AverageCount average_count(const Node& node) {
  return node.attributes.get_int("count_include_pad", 0) != 0 ? AverageCount::kAllTaps
                                                              : AverageCount::kInside;
}

RequantizeU8 requantization(const Node& node) {
  const AttributeMap& attributes = node.attributes;
  RequantizeU8 requantize;
  requantize.multiplier =
      attributes.get_float("x_scale", 1.0F) / attributes.get_float("y_scale", 1.0F);
  requantize.zero_in = static_cast<int32_t>(attributes.get_int("x_zero_point", 0));
  requantize.zero_out = static_cast<int32_t>(attributes.get_int("y_zero_point", 0));
  return requantize;
}

/// [batch, pixels, channels] of a channels-last image.
struct PixelRows {
  int64_t batch = 1, pixels = 1, channels = 1;
};

PixelRows pixel_rows(const Shape& image) {
  return {image[0], image[1] * image[2], image[3]};
}

}  // namespace

std::unique_ptr<Step> make_max_pool(const StepRequest& request) {
  const ConvShape shape = pool_shape(request);
  const ValueId x = request.node.input(0);
  const ValueId y = request.node.output(0);
  if (request.dtype(x) == DType::u8) {
    return make_step("max_pool_u8", [=](const RunContext& context) {
      max_pool_u8(context.kernels, context.at<const uint8_t>(x), context.at<uint8_t>(y), shape);
    });
  }
  return make_step("max_pool_f32", [=](const RunContext& context) {
    max_pool_f32(context.kernels, context.at<const float>(x), context.at<float>(y), shape);
  });
}

std::unique_ptr<Step> make_average_pool(const StepRequest& request) {
  const ConvShape shape = pool_shape(request);
  const AverageCount count = average_count(request.node);
  const ValueId x = request.node.input(0);
  const ValueId y = request.node.output(0);
  return make_step("average_pool_f32", [=](const RunContext& context) {
    average_pool_f32(context.kernels, context.at<const float>(x), context.at<float>(y), shape,
                     count);
  });
}

std::unique_ptr<Step> make_global_average_pool(const StepRequest& request) {
  const ValueId x = request.node.input(0);
  const ValueId y = request.node.output(0);
  const PixelRows rows = pixel_rows(request.shape(x));
  return make_step("global_average_pool_f32", [=](const RunContext& context) {
    global_average_pool_f32(context.kernels, context.at<const float>(x), context.at<float>(y),
                            rows.batch, rows.pixels, rows.channels);
  });
}

std::unique_ptr<Step> make_integer_average_pool(const StepRequest& request) {
  const ConvShape shape = pool_shape(request);
  const AverageCount count = average_count(request.node);
  const RequantizeU8 requantize = requantization(request.node);
  const ValueId x = request.node.input(0);
  const ValueId y = request.node.output(0);
  return make_step("average_pool_u8", [=](const RunContext& context) {
    average_pool_u8(context.kernels, context.at<const uint8_t>(x), context.at<uint8_t>(y), shape,
                    count, requantize);
  });
}

std::unique_ptr<Step> make_integer_global_average_pool(const StepRequest& request) {
  const RequantizeU8 requantize = requantization(request.node);
  const ValueId x = request.node.input(0);
  const ValueId y = request.node.output(0);
  const PixelRows rows = pixel_rows(request.shape(x));
  return make_step("global_average_pool_u8", [=](const RunContext& context) {
    global_average_pool_u8(context.kernels, context.at<const uint8_t>(x), context.at<uint8_t>(y),
                           rows.batch, rows.pixels, rows.channels, requantize);
  });
}

}  // namespace ounce::engine
