#include <algorithm>
#include <numbers>

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

double sigmoid_of(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

double softplus_of(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));  // no overflow for large x
}

void relu(OperatorContext& context) {
  map_numbers(context, [](auto x) { return x < decltype(x){0} ? decltype(x){0} : x; });
}

void leaky_relu(OperatorContext& context) {
  const double alpha = context.attributes().get_float("alpha", 0.01F);
  map_floats(context, [alpha](double x) { return x < 0 ? alpha * x : x; });
}

void thresholded_relu(OperatorContext& context) {
  const double alpha = context.attributes().get_float("alpha", 1.0F);
  map_floats(context, [alpha](double x) { return x > alpha ? x : 0.0; });
}

void prelu(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& slope = input(context, 1);
  require_same_dtype(x, slope);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_number_type(x.dtype(), [&]<class T>(Type<T>) {
    zip<T, T>(x, slope, y,
              [](T value, T factor) { return value < T{0} ? MulOf{}(value, factor) : value; });
  });
}

void elu(OperatorContext& context) {
  const double alpha = context.attributes().get_float("alpha", 1.0F);
  map_floats(context, [alpha](double x) { return x < 0 ? alpha * std::expm1(x) : x; });
}

void selu(OperatorContext& context) {
  // The defaults that the ONNX specification states, to f32.
  const double alpha = context.attributes().get_float("alpha", 1.67326319217681884765625F);
  const double gamma = context.attributes().get_float("gamma", 1.05070102214813232421875F);
  map_floats(context,
             [alpha, gamma](double x) { return gamma * (x > 0 ? x : alpha * std::expm1(x)); });
}

void celu(OperatorContext& context) {
  const double alpha = context.attributes().get_float("alpha", 1.0F);
  require(alpha != 0.0, "alpha is 0");
  map_floats(context, [alpha](double x) {
    return std::max(0.0, x) + std::min(0.0, alpha * std::expm1(x / alpha));
  });
}

void sigmoid(OperatorContext& context) {
  map_floats(context, sigmoid_of);
}

void silu(OperatorContext& context) {
  map_floats(context, [](double x) { return x * sigmoid_of(x); });
}

void hard_sigmoid(OperatorContext& context) {
  const double alpha = context.attributes().get_float("alpha", 0.2F);
  const double beta = context.attributes().get_float("beta", 0.5F);
  map_floats(context, [alpha, beta](double x) { return std::clamp(alpha * x + beta, 0.0, 1.0); });
}

void hard_swish(OperatorContext& context) {
  map_floats(context, [](double x) { return x * std::clamp(x / 6.0 + 0.5, 0.0, 1.0); });
}

void gelu(OperatorContext& context) {
  const std::string approximate = context.attributes().get_string("approximate", "none");
  if (approximate == "tanh") {
    map_floats(context, [](double x) {
      const double inner = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
      return 0.5 * x * (1.0 + std::tanh(inner));
    });
  } else if (approximate == "none") {
    map_floats(context, [](double x) { return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0))); });
  } else {
    fail("approximate is '" + approximate + "', 'none' or 'tanh' wanted");
  }
}

void softplus(OperatorContext& context) {
  map_floats(context, softplus_of);
}

void softsign(OperatorContext& context) {
  map_floats(context, [](double x) { return x / (1.0 + std::abs(x)); });
}

void mish(OperatorContext& context) {
  map_floats(context, [](double x) { return x * std::tanh(softplus_of(x)); });
}

void shrink(OperatorContext& context) {
  const double lambda = context.attributes().get_float("lambd", 0.5F);
  const double bias = context.attributes().get_float("bias", 0.0F);
  map_floats(context, [lambda, bias](double x) {
    if (x < -lambda) return x + bias;
    return x > lambda ? x - bias : 0.0;
  });
}

void tanh_operator(OperatorContext& context) {
  map_floats(context, [](double x) { return std::tanh(x); });
}

constexpr OperatorEntry kEntries[] = {
    {"Celu", widened<celu>},
    {"Elu", widened<elu>},
    {"Gelu", widened<gelu>},
    {"HardSigmoid", widened<hard_sigmoid>},
    {"HardSwish", widened<hard_swish>},
    {"LeakyRelu", widened<leaky_relu>},
    {"Mish", widened<mish>},
    {"PRelu", widened<prelu>},
    {"Relu", widened<relu>},
    {"Selu", widened<selu>},
    {"Shrink", widened<shrink>},
    {"Sigmoid", widened<sigmoid>},
    {"Silu", widened<silu>},
    {"Softplus", widened<softplus>},
    {"Softsign", widened<softsign>},
    {"Tanh", widened<tanh_operator>},
    {"ThresholdedRelu", widened<thresholded_relu>},
};

}  // namespace

std::span<const OperatorEntry> activation_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
