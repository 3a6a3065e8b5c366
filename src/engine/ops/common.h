#pragma once

#include "engine/kernels/conv.h"
#include "engine/plan/step.h"

namespace ounce::engine {

/// Convolution or pooling geometry of an internal node over channels-last images: input 0 is
/// [N, H, W, C], output 0 [N, OH, OW, OC].
ConvShape window_shape(const StepRequest& request, int64_t kernel_h, int64_t kernel_w);

/// The same with the kernel size of the weights, input 1: constant [O, I, H, W].
ConvShape conv_shape(const StepRequest& request);

bool is_depthwise(const ConvShape& shape);

/// The same with the kernel size in the attribute `kernel_shape`.
ConvShape pool_shape(const StepRequest& request);

/// A matrix product with constant right operand, input 1: all leading dimensions of input 0 are
/// rows.
struct MatrixShape {
  int64_t m = 0, n = 0, k = 0;
};
MatrixShape matrix_shape(const StepRequest& request);

/// By the attribute `n_by_k`.
WeightLayout weight_layout(const Node& node);

/// Whether i2 codes are -1, 0 and 1 only.
bool is_ternary(const Tensor& codes);

/// Channels-first weights [O, I, H, W] as [O, H, W, I].
template <class T>
std::vector<T> to_ohwi(const Tensor& oihw) {
  const std::span<const T> source = oihw.data<T>();
  const Shape& shape = oihw.shape();
  const int64_t outer = shape[0];
  const int64_t inner = shape[1];
  const int64_t taps = shape[2] * shape[3];
  std::vector<T> result(source.size());
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) {
      for (int64_t t = 0; t < taps; ++t) {
        result[static_cast<size_t>((o * taps + t) * inner + i)] =
            source[static_cast<size_t>((o * inner + i) * taps + t)];
      }
    }
  }
  return result;
}

/// Depthwise weights [C, 1, H, W] as [H, W, C].
template <class T>
std::vector<T> to_hwc(const Tensor& chw) {
  const std::span<const T> source = chw.data<T>();
  const int64_t channels = chw.shape()[0];
  const int64_t taps = chw.shape()[2] * chw.shape()[3];
  std::vector<T> result(source.size());
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) {
      result[static_cast<size_t>(t * channels + c)] = source[static_cast<size_t>(c * taps + t)];
    }
  }
  return result;
}

/// The constant parts of an f32 epilogue, with the memory that they point to.
struct FloatOutputPlan {
  Epilogue epilogue;
  Tensor bias;
};

/// Reads the activation attributes and inputs 2 (bias) and 3 (residual) of an internal node.
FloatOutputPlan float_output(const StepRequest& request, int64_t columns);

/// The epilogue for one run: the residual's address filled in.
Epilogue bind(const FloatOutputPlan& plan, const RunContext& context, const Node& node);

/// The constant parts of an integer epilogue, with the memory that they point to.
struct IntegerOutputPlan {
  IntegerEpilogue epilogue;
  AlignedVector<float> scales;   // one an output column, panel-padded
  AlignedVector<uint8_t> table;  // 256 entries or empty
  Tensor bias;                   // f32, added behind the scales
  bool f32_residual = false;
  Tensor prelu_slope, prelu_gain, prelu_before, prelu_after;  // f32 [columns] or undefined
};

/// Reads `product_scales`, `y_...`, `lo`, `hi`, `table`, `residual_...`, `prelu_...` and an f32
/// bias (input 2) of an internal node. Columns is the number of output channels. Call `bind` after
/// the plan has reached its final address.
IntegerOutputPlan integer_output(const StepRequest& request, int64_t columns);

/// The epilogue for one run: output and residual addresses filled in, rows `columns` apart.
IntegerEpilogue bind(const IntegerOutputPlan& plan, const RunContext& context, const Node& node,
                     int64_t columns);

/// The bias of input 2 in units of the products' sums; nullptr when there is none, or it is f32.
const int32_t* integer_bias(const StepRequest& request);

}  // namespace ounce::engine
