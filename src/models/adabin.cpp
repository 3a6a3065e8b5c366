#include "models/adabin.h"

#include <cmath>
#include <span>
#include <vector>

#include "graph/error.h"
#include "models/builder.h"

namespace ounce::models {
namespace {

constexpr float kEpsilon = 1e-5F;  // of BatchNormalization

class Reader {
 public:
  explicit Reader(const std::map<std::string, Tensor>& checkpoint) : checkpoint_(checkpoint) {}

  Graph read() {
    ValueId x = first_layer(layers_.image_input(32));
    int64_t in = kWidth;
    for (int64_t stage = 0; stage < 3; ++stage) {
      for (int64_t block = 0; block < 3; ++block) {
        const std::string name = "layer" + std::to_string(stage + 1) + '.' + std::to_string(block);
        const int64_t out = kWidth << stage;
        const int64_t stride = block == 0 && stage > 0 ? 2 : 1;
        x = binary_unit(name, "1", x, in, out, stride);
        x = binary_unit(name, "2", x, out, out, 1);
        in = out;
      }
    }
    return classify(x, in);
  }

 private:
  static constexpr int64_t kWidth = 16;

  std::vector<float> tensor(const std::string& name, const Shape& shape) const {
    const auto found = checkpoint_.find(name);
    if (found == checkpoint_.end()) {
      throw Error("has no tensor " + name, {}, "an AdaBin ResNet-20, or --prefix and --rename");
    }
    if (found->second.shape() != shape) {
      throw Error(name + " is " + to_string(found->second.shape()) + ", the architecture has " +
                      to_string(shape),
                  {}, "an AdaBin ResNet-20");
    }
    return cast(found->second, DType::f32).to_f32();
  }

  /// BatchNormalization as gain and shift of each channel.
  struct Affine {
    std::vector<float> gain, shift;
  };
  Affine norm(const std::string& name, int64_t channels) const {
    Affine affine{tensor(name + ".weight", {channels}), tensor(name + ".bias", {channels})};
    const std::vector<float> mean = tensor(name + ".running_mean", {channels});
    const std::vector<float> variance = tensor(name + ".running_var", {channels});
    for (size_t c = 0; c < mean.size(); ++c) {
      affine.gain[c] /= std::sqrt(variance[c] + kEpsilon);
      affine.shift[c] -= affine.gain[c] * mean[c];
    }
    return affine;
  }

  ValueId constant(const std::string& name, const std::vector<float>& values, Shape shape) {
    return layers_.constant(name, Tensor::of(values, std::move(shape)));
  }

  ValueId convolve(const std::string& name, ValueId x, ValueId weight,
                   const std::vector<float>& bias, int64_t stride) {
    AttributeMap attributes;
    attributes.set("kernel_shape", std::vector<int64_t>{3, 3});
    attributes.set("strides", std::vector<int64_t>{stride, stride});
    attributes.set("pads", std::vector<int64_t>(4, 1));
    const auto channels = static_cast<int64_t>(bias.size());
    return layers_.apply("Conv", {x, weight, constant(name + ".bias", bias, {channels})},
                         std::move(attributes), name);
  }

  /// x < 0 ? neg_scale * x : pos_scale * x, each of its channel.
  ValueId nonlinear(const std::string& name, ValueId x, int64_t channels) {
    std::vector<float> slope = tensor(name + ".neg_scale", {channels});
    const std::vector<float> gain = tensor(name + ".pos_scale", {channels});
    for (size_t c = 0; c < gain.size(); ++c) {
      if (gain[c] == 0.0F) throw Error(name + ".pos_scale has a 0", {}, "another checkpoint");
      slope[c] /= gain[c];
    }
    const Shape shape = {channels, 1, 1};
    x = layers_.apply("PRelu", {x, constant(name + ".slope", slope, shape)}, {}, name);
    return layers_.apply("Mul", {x, constant(name + ".gain", gain, shape)}, {}, name + ".mul");
  }

  ValueId first_layer(ValueId x) {
    constexpr int64_t kFanIn = 27;
    const Shape shape = {kWidth, 3, 3, 3};
    std::vector<float> weight = tensor("conv1.weight", shape);
    const Affine affine = norm("bn1", kWidth);
    for (size_t i = 0; i < weight.size(); ++i) weight[i] *= affine.gain[i / kFanIn];
    x = convolve("conv1", x, constant("conv1.weight", weight, shape), affine.shift, 1);
    return nonlinear("nonlinear1", x, kWidth);
  }

  /// gain * (sigma * sign(w - mu) + mu), with the BatchNormalization behind it.
  ValueId binary_weights(const std::string& name, const Shape& shape,
                         const std::vector<float>& gain) {
    std::vector<float> weight = tensor(name + ".weight", shape);
    const int64_t channels = shape[0];
    const size_t count = weight.size() / static_cast<size_t>(channels);
    std::vector<float> sigma, mu;
    for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
      const std::span<float> own = std::span(weight).subspan(c * count, count);
      double sum = 0;
      for (const float w : own) sum += w;
      const double mean = sum / static_cast<double>(count);
      double squares = 0;
      for (float& w : own) {
        squares += (w - mean) * (w - mean);
        w = gain[c] * (w - static_cast<float>(mean)) < 0.0F ? -1.0F : 1.0F;
      }
      const double deviation = std::sqrt(squares / static_cast<double>(count));
      sigma.push_back(std::abs(gain[c]) * static_cast<float>(deviation));
      mu.push_back(gain[c] * static_cast<float>(mean));
    }
    AttributeMap axis;
    axis.set("axis", int64_t{0});
    const ValueId signs =
        layers_.constant(name + ".weight", cast(Tensor::of(weight, shape), DType::u1));
    const ValueId scaled =
        layers_.apply("DequantizeLinear", {signs, constant(name + ".scale", sigma, {channels})},
                      std::move(axis), name + ".weights");
    return layers_.apply("Add", {scaled, constant(name + ".mean", mu, {channels, 1, 1, 1})}, {},
                         name + ".shifted_weights");
  }

  ValueId binary_activations(const std::string& name, ValueId x) {
    const float alpha = tensor(name + ".binary_a.alpha_a", {})[0];
    const float beta = tensor(name + ".binary_a.beta_a", {})[0];
    if (alpha == 0.0F) throw Error(name + ".binary_a.alpha_a is 0", {}, "another checkpoint");
    const auto add = [&](ValueId value, float number, const char* suffix) {
      const ValueId other = layers_.constant(name + suffix, Tensor::scalar(number));
      return layers_.apply("Add", {value, other}, {}, name + suffix);
    };
    // The sign of (x - beta) / alpha, times alpha, is that of x - beta times |alpha|.
    x = layers_.binarize(name + ".sign", add(x, -beta, ".threshold"), std::abs(alpha));
    return add(x, alpha * beta, ".center");
  }

  /// Signs, convolution, BatchNormalization, shortcut, nonlinearity.
  ValueId binary_unit(const std::string& block, const std::string& number, ValueId x, int64_t in,
                      int64_t out, int64_t stride) {
    const std::string name = block + ".conv" + number;
    const Affine affine = norm(block + ".bn" + number, out);
    const ValueId weight = binary_weights(name, {out, in, 3, 3}, affine.gain);
    const ValueId y = convolve(name, binary_activations(name, x), weight, affine.shift, stride);
    if (in != out) x = layers_.padded_shortcut(block + ".shortcut", x, in, out);
    const ValueId sum = layers_.apply("Add", {y, x}, {}, block + ".add" + number);
    return nonlinear(block + ".nonlinear" + number, sum, out);
  }

  /// The mean of each channel, normalised, and the linear layer: one linear layer.
  Graph classify(ValueId x, int64_t width) {
    constexpr int64_t kClasses = 10;
    x = layers_.apply("GlobalAveragePool", {x}, {}, "avgpool");
    x = layers_.apply("Flatten", {x}, {}, "flatten");
    const Affine affine = norm("bn2", width);
    const std::vector<float> from = tensor("linear.weight", {kClasses, width});
    std::vector<float> bias = tensor("linear.bias", {kClasses});
    std::vector<float> weight(from.size());
    for (size_t k = 0; k < affine.gain.size(); ++k) {
      for (size_t c = 0; c < bias.size(); ++c) {
        const float w = from[c * affine.gain.size() + k];
        weight[k * bias.size() + c] = w * affine.gain[k];
        bias[c] += w * affine.shift[k];
      }
    }
    x = layers_.apply("MatMul", {x, constant("linear.weight", weight, {width, kClasses})}, {},
                      "linear");
    x = layers_.apply("Add", {x, constant("linear.bias", bias, {kClasses})}, {}, "linear.add");
    return layers_.finish(x, "logits");
  }

  const std::map<std::string, Tensor>& checkpoint_;
  LayerBuilder layers_{"resnet20_adabin", 1};
};

}  // namespace

Graph adabin_resnet20(const std::map<std::string, Tensor>& checkpoint) {
  return Reader(checkpoint).read();
}

}  // namespace ounce::models
