#include "quantize/rounding/gptq.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <numeric>

#include "graph/error.h"

namespace ounce::quantize {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr double kDamping = 0.01;  // of the mean of the diagonal

/// A layer's weights [outputs, inputs], wherever they lie in the tensor. The inputs of a
/// convolution are the numbers of a window, [channels, height, width].
class LayerMatrix {
 public:
  LayerMatrix(const Tensor& weights, WeightAxes axes) {
    const auto strides = row_major_strides(weights.shape());
    const auto channel = static_cast<size_t>(normalize_axis(axes.channel, weights.rank()));
    const auto reduction = static_cast<size_t>(normalize_axis(axes.reduction, weights.rank()));
    outputs_ = weights.shape()[channel];
    inputs_ = weights.shape()[reduction];
    output_stride_ = strides[channel];
    input_stride_ = strides[reduction];
    if (weights.rank() > 2) {
      if (channel != 0 || reduction != 1) throw Error("weights are not [outputs, inputs, ...]");
      inputs_ = weights.size() / outputs_;
      input_stride_ = 1;
      taps_ = inputs_ / weights.shape()[1];
    }
  }
  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  /// Numbers of a channel in a window.
  int64_t taps() const { return taps_; }
  size_t at(int64_t output, int64_t input) const {
    return static_cast<size_t>(output * output_stride_ + input * input_stride_);
  }

 private:
  int64_t outputs_, inputs_, output_stride_, input_stride_;
  int64_t taps_ = 1;
};

/// The scale of each weight, [outputs, inputs].
Matrix scales_of(const LayerMatrix& layer, const QuantizedWeights& quantized) {
  const Tensor& scales = quantized.scales;
  Matrix result(layer.outputs(), layer.inputs());
  if (scales.size() == 1) {
    result.setConstant(scales.to_f32()[0]);
    return result;
  }
  const auto s = scales.data<float>();
  for (int64_t o = 0; o < layer.outputs(); ++o) {
    for (int64_t i = 0; i < layer.inputs(); ++i) {
      if (quantized.block_size == 0) {
        result(o, i) = s[static_cast<size_t>(o)];
        continue;
      }
      // The scales have the weights' shape with the reduction axis divided.
      const int64_t blocks = scales.size() / (layer.outputs() * layer.taps());
      const int64_t block = i / layer.taps() / quantized.block_size;
      const bool outputs_first = layer.at(1, 0) > layer.at(0, 1) || layer.inputs() == 1;
      result(o, i) = s[static_cast<size_t>(outputs_first ? (o * blocks + block) * layer.taps() +
                                                               i % layer.taps()
                                                         : block * layer.outputs() + o)];
    }
  }
  return result;
}

/// The code that is nearest to `value`.
int8_t nearest_code(double value, const WeightOptions& options) {
  if (options.bits == 1) return value < 0.0 ? int8_t{-1} : int8_t{1};
  const WeightCodes codes = weight_codes(options);
  return static_cast<int8_t>(
      std::clamp<double>(std::nearbyint(value), codes.lowest, codes.highest));
}

/// sum over outputs of d' H d for d = weights - scales * codes: the squared error of the layer's
/// results on the data of H.
double output_error(const LayerMatrix& layer, const Matrix& exact, const Matrix& scales,
                    std::span<const int8_t> codes, const Matrix& hessian) {
  Matrix difference(layer.outputs(), layer.inputs());
  for (int64_t o = 0; o < layer.outputs(); ++o) {
    for (int64_t i = 0; i < layer.inputs(); ++i) {
      difference(o, i) = exact(o, i) - scales(o, i) * codes[layer.at(o, i)];
    }
  }
  return (difference * hessian).cwiseProduct(difference).sum();
}

}  // namespace

bool gptq_round(const Tensor& weights, WeightAxes axes, const WeightOptions& options,
                const Gram& gram, QuantizedWeights& quantized) {
  const LayerMatrix layer(weights, axes);
  const int64_t size = layer.inputs();
  if (gram.size != size) throw Error("the sums of products are not of this layer's inputs");
  Matrix hessian = Eigen::Map<const Matrix>(gram.sums.data(), size, size);

  std::vector<int64_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return hessian(a, a) > hessian(b, b); });
  const double mean = hessian.trace() / static_cast<double>(size);
  Matrix ordered(size, size);
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < size; ++j) {
      ordered(i, j) = hessian(order[static_cast<size_t>(i)], order[static_cast<size_t>(j)]);
    }
    if (ordered(i, i) == 0.0) ordered(i, i) = 1.0;  // nothing comes in here
    ordered(i, i) += kDamping * mean;
  }
  // H^-1 = U'U with U upper: the Cholesky factor of the inverse.
  const Matrix inverse = ordered.llt().solve(Matrix::Identity(size, size));
  const Matrix upper = inverse.llt().matrixU();
  if (!upper.allFinite()) return false;

  const Matrix scales = scales_of(layer, quantized);
  const auto w = weights.data<float>();
  Matrix exact(layer.outputs(), size);
  for (int64_t o = 0; o < layer.outputs(); ++o) {
    for (int64_t i = 0; i < size; ++i) exact(o, i) = w[layer.at(o, i)];
  }
  Tensor codes(DType::i8, weights.shape());
  const std::span<int8_t> out = codes.mutable_data<int8_t>();
  Eigen::RowVectorXd rest(size);
  for (int64_t o = 0; o < layer.outputs(); ++o) {
    for (int64_t j = 0; j < size; ++j) rest(j) = exact(o, order[static_cast<size_t>(j)]);
    for (int64_t j = 0; j < size; ++j) {
      const int64_t input = order[static_cast<size_t>(j)];
      const double scale = scales(o, input);
      const bool dead = hessian(input, input) == 0.0;
      const int8_t code = nearest_code(dead ? 0.0 : rest(j) / scale, options);
      out[layer.at(o, input)] = code;
      if (dead) continue;
      const double error = (rest(j) - scale * code) / upper(j, j);
      const int64_t behind = size - j - 1;
      rest.tail(behind) -= error * upper.row(j).tail(behind);
    }
  }
  const auto before = quantized.codes.data<int8_t>();
  if (output_error(layer, exact, scales, out, hessian) >
      output_error(layer, exact, scales, before, hessian)) {
    return false;
  }
  quantized.codes = codes;
  return true;
}

}  // namespace ounce::quantize
