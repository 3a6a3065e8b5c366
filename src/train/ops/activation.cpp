#include "train/engine_functions.h"
#include "train/ops/common.h"
#include "train/ops/families.h"
#include "train/per_channel.h"

namespace ounce::train::ops {
namespace {

Outputs leaky_relu(const OpCall& call) {
  return {at::leaky_relu(call.input(0), call.attributes().get_float("alpha", 0.01F))};
}

Outputs thresholded_relu(const OpCall& call) {
  return {at::threshold(call.input(0), call.attributes().get_float("alpha", 1.0F), 0)};
}

/// One slope for all, or one an index of axis 1: what libtorch's own takes.
bool is_per_channel(const at::Tensor& slope, const at::Tensor& x) {
  if (slope.numel() == 1) return true;
  return x.dim() >= 2 && slope.numel() == x.size(1) && slope.dim() == x.dim() - 1 &&
         slope.size(0) == x.size(1);
}

Outputs prelu(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const at::Tensor& slope = call.input(1);
  if (const auto slopes = channel_values(x, slope)) return {prelu_channels(x, *slopes)};
  // A pass instead of three; slopes may have any other shape that broadcasts.
  if (is_per_channel(slope, x)) return {at::prelu(x, slope.reshape({-1}))};
  return {at::where(x < 0, x * slope, x)};
}

Outputs elu(const OpCall& call) {
  return {at::elu(call.input(0), call.attributes().get_float("alpha", 1.0F))};
}

Outputs selu(const OpCall& call) {
  const double alpha = call.attributes().get_float("alpha", 1.67326319217681884765625F);
  const double gamma = call.attributes().get_float("gamma", 1.05070102214813232421875F);
  return {at::elu(call.input(0), alpha, gamma)};
}

Outputs celu(const OpCall& call) {
  const double alpha = call.attributes().get_float("alpha", 1.0F);
  require(alpha != 0.0, "alpha is 0");
  return {at::celu(call.input(0), alpha)};
}

Outputs hard_sigmoid(const OpCall& call) {
  const double alpha = call.attributes().get_float("alpha", 0.2F);
  const double beta = call.attributes().get_float("beta", 0.5F);
  return {at::clamp(call.input(0) * alpha + beta, 0, 1)};
}

Outputs gelu(const OpCall& call) {
  const std::string approximate = call.attributes().get_string("approximate", "none");
  const at::Tensor& x = call.input(0);
  return {approximate == "none" ? erf_gelu(x) : at::gelu(x, approximate)};
}

Outputs softplus(const OpCall& call) {
  return {at::softplus(call.input(0))};
}

Outputs softsign(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  return {x / (x.abs() + 1)};
}

Outputs shrink(const OpCall& call) {
  const double lambda = call.attributes().get_float("lambd", 0.5F);
  const double bias = call.attributes().get_float("bias", 0.0F);
  const at::Tensor& x = call.input(0);
  const at::Tensor zero = at::zeros_like(x);
  return {at::where(x < -lambda, x + bias, at::where(x > lambda, x - bias, zero))};
}

Outputs softmax(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const int64_t axis = axis_of(call, -1);
  return {axis == x.dim() - 1 ? row_softmax(x) : at::softmax(x, axis)};
}

Outputs log_softmax(const OpCall& call) {
  return {at::log_softmax(call.input(0), axis_of(call, -1))};
}

/// 1 at the first maximum along the axis, 0 elsewhere.
Outputs hardmax(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const int64_t axis = axis_of(call, -1);
  return {at::zeros_like(x).scatter(axis, x.argmax(axis, true), 1)};
}

constexpr OpRow kRows[] = {
    {"Celu", celu},
    {"Elu", elu},
    {"Gelu", gelu},
    {"HardSigmoid", hard_sigmoid},
    {"HardSwish", unary<at::hardswish>},
    {"Hardmax", hardmax},
    {"LeakyRelu", leaky_relu},
    {"LogSoftmax", log_softmax},
    {"Mish", unary<at::mish>},
    {"PRelu", prelu},
    {"Relu", unary<at::relu>},
    {"Selu", selu},
    {"Shrink", shrink},
    {"Sigmoid", unary<at::sigmoid>},
    {"Silu", unary<at::silu>},
    {"Softmax", softmax},
    {"Softplus", softplus},
    {"Softsign", softsign},
    {"Tanh", unary<at::tanh>},
    {"ThresholdedRelu", thresholded_relu},
};

}  // namespace

Family activation_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
