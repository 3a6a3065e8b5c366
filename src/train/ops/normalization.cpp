#include <cmath>

#include "train/engine_functions.h"
#include "train/ops/batch_norm.h"
#include "train/ops/common.h"
#include "train/ops/families.h"

namespace ounce::train::ops {
namespace {

double epsilon_of(const OpCall& call) {
  return call.attributes().get_float("epsilon", 1e-5F);
}

/// In training by the statistics of the batch, of all ranks; operands 3 and 4, the running ones,
/// follow in place: running = momentum * running + (1 - momentum) * batch, with the unbiased
/// variance.
Outputs batch_normalization(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const double kept = call.attributes().get_float("momentum", 0.9F);
  const at::Tensor rows = x.dim() == 1 ? x.unsqueeze(1) : x;
  if (call.training && rows.numel() <= rows.size(1)) {
    throw Error("one value a channel has no variance", {}, "a larger batch");
  }
  const at::Tensor& scale = call.input(1);
  const at::Tensor& bias = call.input(2);
  const at::Tensor& mean = call.input(3);
  const at::Tensor& variance = call.input(4);
  const at::Tensor y =
      call.training
          ? trained_batch_norm(rows, scale, bias, mean, variance, kept, epsilon_of(call))
          : at::batch_norm(rows, scale, bias, mean, variance, false, 0.0, epsilon_of(call), true);
  return {y.reshape(x.sizes())};
}

Outputs group_normalization(const OpCall& call) {
  return {at::group_norm(call.input(0), call.attributes().get_int("num_groups", 0), call.input(1),
                         call.input(2), epsilon_of(call))};
}

Outputs instance_normalization(const OpCall& call) {
  return {at::instance_norm(call.input(0), call.input(1), call.input(2), {}, {}, true, 0.0,
                            epsilon_of(call), true)};
}

/// The dimensions of operand 0 from the attribute `axis` on.
std::vector<int64_t> normalized_shape(const OpCall& call) {
  return call.input(0).sizes().slice(static_cast<size_t>(axis_of(call, -1))).vec();
}

/// y = (x - mean) / sqrt(variance + epsilon) * scale + bias over the axes from `axis` on.
Outputs layer_normalization(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const std::vector<int64_t> shape = normalized_shape(call);
  const at::Tensor scale = call.input(1);
  const at::Tensor bias = call.has(2) ? call.inputs[2] : at::Tensor();
  const bool plain = scale.sizes().equals(shape) && (!bias.defined() || bias.sizes().equals(shape));
  if (plain && call.node.outputs.size() == 1) {
    return {row_layer_norm(x, scale, bias, epsilon_of(call))};
  }
  auto [y, mean, deviation] = at::native_layer_norm(x, shape, plain ? scale : at::Tensor(),
                                                    plain ? bias : at::Tensor(), epsilon_of(call));
  if (!plain) {
    y = y * scale;
    if (bias.defined()) y = y + bias;
  }
  return {y, mean, deviation};
}

/// y = x / sqrt(mean(x^2) + epsilon) * scale over the axes from `axis` on.
Outputs rms_normalization(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  std::vector<int64_t> axes;
  for (int64_t axis = axis_of(call, -1); axis < x.dim(); ++axis) axes.push_back(axis);
  const at::Tensor mean = x.square().mean(axes, true);
  return {x * at::rsqrt(mean + epsilon_of(call)) * call.input(1)};
}

/// y = x / (bias + alpha / size * sum of x^2 over `size` neighbouring channels)^beta.
Outputs local_response_normalization(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const int64_t size = call.attributes().get_int("size", 0);
  require(size >= 1, "size must be positive");
  const double alpha = call.attributes().get_float("alpha", 1e-4F);
  const double beta = call.attributes().get_float("beta", 0.75F);
  const double bias = call.attributes().get_float("bias", 1.0F);
  std::vector<int64_t> pads(static_cast<size_t>(2 * (x.dim() - 1)), 0);
  pads[pads.size() - 2] = (size - 1) / 2;
  pads[pads.size() - 1] = size / 2;
  const at::Tensor squares = at::constant_pad_nd(x.square(), pads).unfold(1, size, 1).sum(-1);
  return {x / at::pow(squares * (alpha / static_cast<double>(size)) + bias, beta)};
}

/// y = (x - mean) / sqrt(variance) over `axes`.
Outputs mean_variance_normalization(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const std::vector<int64_t> axes =
      normalized_axes(call.attributes().get_ints("axes", {0, 2, 3}), x.dim());
  const at::Tensor centred = x - x.mean(axes, true);
  // As a norm: of a flat input libtorch takes 0 for its slope, where the root's is infinite.
  const at::Tensor norm = at::linalg_vector_norm(centred, 2, axes, true);
  const double count = static_cast<double>(x.numel()) / static_cast<double>(norm.numel());
  // The constant keeps a flat input from dividing by zero; it is the specification's.
  return {centred / (norm / std::sqrt(count) + 1e-9)};
}

/// y = x / norm along the axis; a line of norm 0 stays 0.
Outputs lp_normalization(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const at::Tensor norm = at::norm(x, call.attributes().get_int("p", 2), {axis_of(call, -1)}, true);
  return {x / norm.masked_fill(norm == 0, 1)};
}

constexpr OpRow kRows[] = {
    {"BatchNormalization", batch_normalization},
    {"GroupNormalization", group_normalization},
    {"InstanceNormalization", instance_normalization},
    {"LRN", local_response_normalization},
    {"LayerNormalization", layer_normalization},
    {"LpNormalization", lp_normalization},
    {"MeanVarianceNormalization", mean_variance_normalization},
    {"RMSNorm", rms_normalization},
};

}  // namespace

Family normalization_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
