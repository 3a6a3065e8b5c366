#include "engine/kernels/f32/winograd.h"
#include "engine/ops/common.h"
#include "engine/ops/factories.h"

namespace ounce::engine {
namespace {

template <class T>
int64_t byte_count(const AlignedVector<T>& values) {
  return static_cast<int64_t>(values.size() * sizeof(T));
}

/// What float and integer convolutions share: a dense form and a depthwise one of packed weights,
/// of which one is filled.
template <class Dense, class Depthwise>
class ConvStep : public Step {
 public:
  explicit ConvStep(const StepRequest& request)
      : node_(request.node), shape_(conv_shape(request)), threads_(request.threads) {}

  int64_t weight_bytes() const override {
    int64_t bytes = byte_count(depthwise_.data);
    for (const auto& group : dense_.groups) bytes += byte_count(group.data);
    return bytes;
  }

 protected:
  Node node_;
  ConvShape shape_;
  int threads_;
  Dense dense_;
  Depthwise depthwise_;
};

class FloatConvStep final : public ConvStep<PackedConvF32, PackedDepthwiseF32> {
 public:
  explicit FloatConvStep(const StepRequest& request)
      : ConvStep(request), output_(float_output(request, shape_.out_channels)) {
    const Tensor& weight = *request.constant(node_.input(1));
    if (is_depthwise(shape_)) {
      depthwise_ = pack_depthwise_f32(to_hwc<float>(weight).data(), shape_);
    } else {
      dense_ = pack_conv_f32(to_ohwi<float>(weight).data(), shape_);
    }
  }

  void run(const RunContext& context) override {
    const Epilogue epilogue = bind(output_, context, node_);
    const auto* input = context.at<const float>(node_.input(0));
    auto* output = context.at<float>(node_.output(0));
    if (is_depthwise(shape_)) {
      depthwise_f32(context.kernels, input, depthwise_, shape_, output, shape_.out_channels,
                    epilogue);
    } else {
      conv_f32(context.kernels, input, dense_, shape_, output, shape_.out_channels, epilogue);
    }
  }

  size_t scratch_bytes() const override {
    return is_depthwise(shape_) ? depthwise_f32_scratch_bytes(shape_, threads_)
                                : conv_f32_scratch_bytes(shape_, threads_);
  }
  std::string_view kernel() const override {
    return is_depthwise(shape_) ? "depthwise_f32" : "conv_f32";
  }

 private:
  FloatOutputPlan output_;
};

class WinogradConvStep final : public Step {
 public:
  WinogradConvStep(const StepRequest& request, WinogradTile tile)
      : node_(request.node),
        threads_(request.threads),
        weights_(pack_winograd_f32(to_ohwi<float>(*request.constant(node_.input(1))).data(),
                                   conv_shape(request), tile)),
        output_(float_output(request, weights_.shape.out_channels)) {}

  void run(const RunContext& context) override {
    winograd_f32(context.kernels, context.at<const float>(node_.input(0)), weights_, weights_.shape,
                 context.at<float>(node_.output(0)), weights_.shape.out_channels,
                 bind(output_, context, node_));
  }
  size_t scratch_bytes() const override {
    return winograd_f32_scratch_bytes(weights_.shape, weights_.tile, threads_);
  }
  int64_t weight_bytes() const override { return byte_count(weights_.data); }
  std::string_view kernel() const override { return "winograd_f32"; }

 private:
  Node node_;
  int threads_;
  PackedWinogradF32 weights_;
  FloatOutputPlan output_;
};

class ConvTransposeStep final : public Step {
 public:
  explicit ConvTransposeStep(const StepRequest& request)
      : node_(request.node), threads_(request.threads) {
    const Tensor& weight = *request.constant(node_.input(1));
    const ConvShape shape = conv_shape(request);
    output_ = float_output(request, shape.out_channels);
    packed_ = pack_conv_transpose_f32(weight.data<float>().data(), output_.epilogue.bias, shape);
  }

  void run(const RunContext& context) override {
    conv_transpose_f32(context.kernels, context.at<const float>(node_.input(0)), packed_,
                       context.at<float>(node_.output(0)), bind(output_, context, node_));
  }
  size_t scratch_bytes() const override {
    return conv_transpose_f32_scratch_bytes(packed_, threads_);
  }
  int64_t weight_bytes() const override {
    int64_t bytes = byte_count(packed_.bias);
    for (const auto& groups : packed_.matrices) {
      for (const PackedF32& group : groups) bytes += byte_count(group.data);
    }
    return bytes;
  }
  std::string_view kernel() const override { return "conv_transpose_f32"; }

 private:
  Node node_;
  int threads_;
  FloatOutputPlan output_;
  PackedConvTransposeF32 packed_;
};

class IntegerConvStep final : public ConvStep<PackedConvS8, PackedDepthwiseS8> {
 public:
  explicit IntegerConvStep(const StepRequest& request)
      : ConvStep(request), output_(integer_output(request, shape_.out_channels)) {
    const Tensor weight = cast(*request.constant(node_.input(1)), DType::i8);
    const auto zero_point = static_cast<int32_t>(node_.attributes.get_int("x_zero_point", 0));
    const int32_t* bias = integer_bias(request);
    if (is_depthwise(shape_)) {
      depthwise_ = pack_depthwise_s8(to_hwc<int8_t>(weight).data(), shape_, zero_point, bias);
    } else {
      dense_ = pack_conv_s8(to_ohwi<int8_t>(weight).data(), shape_, zero_point, bias);
    }
  }

  void run(const RunContext& context) override {
    const IntegerEpilogue epilogue = bind(output_, context, node_, shape_.out_channels);
    const auto* input = context.at<const uint8_t>(node_.input(0));
    if (is_depthwise(shape_)) {
      depthwise_u8s8(context.kernels, input, depthwise_, shape_, epilogue);
    } else {
      conv_u8s8(context.kernels, input, dense_, shape_, epilogue);
    }
  }

  size_t scratch_bytes() const override {
    return is_depthwise(shape_) ? depthwise_u8s8_scratch_bytes(shape_, threads_)
                                : conv_u8s8_scratch_bytes(shape_, threads_);
  }
  std::string_view kernel() const override {
    return is_depthwise(shape_) ? "depthwise_u8s8" : "conv_u8s8";
  }
  Multiplication multiplication() const override { return kInt8Multiplication; }

 private:
  IntegerOutputPlan output_;
};

}  // namespace

std::unique_ptr<Step> make_conv(const StepRequest& request) {
  if (request.winograd) {
    if (const auto tile = choose_winograd(conv_shape(request))) {
      return std::make_unique<WinogradConvStep>(request, *tile);
    }
  }
  return std::make_unique<FloatConvStep>(request);
}

std::unique_ptr<Step> make_conv_transpose(const StepRequest& request) {
  return std::make_unique<ConvTransposeStep>(request);
}

std::unique_ptr<Step> make_int8_conv(const StepRequest& request) {
  return std::make_unique<IntegerConvStep>(request);
}

}  // namespace ounce::engine
