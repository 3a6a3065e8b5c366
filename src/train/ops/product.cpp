#include <cmath>

#include "train/engine_functions.h"
#include "train/matrix_product.h"
#include "train/ops/common.h"
#include "train/ops/families.h"
#include "train/ops/window.h"

namespace ounce::train::ops {
namespace {

std::vector<int64_t> spatial_dims(const at::Tensor& x) {
  require(x.dim() >= 3, "a tensor of rank >= 3 wanted");
  return x.sizes().slice(2).vec();
}

at::Tensor bias_of(const OpCall& call) {
  return call.has(2) ? call.inputs[2] : at::Tensor();
}

/// In f32 on a CPU the channels of a place lie side by side, there and in all values that come of
/// it: what libtorch's convolutions (oneDNN) compute in; other layouts they convert at every call.
at::Tensor channels_last(const at::Tensor& x) {
  const bool pays = x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 4;
  return pays ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
}

Outputs conv(const OpCall& call) {
  const at::Tensor& w = call.input(1);
  const ForwardWindow window(call, spatial_dims(w));
  const std::vector<int64_t> begin = window.pad_begin();
  const std::vector<int64_t> end = window.numbers(&ounce::ops::WindowAxis::pad_end);
  const std::vector<int64_t> none(begin.size(), 0);
  const bool even = begin == end;
  const at::Tensor x = channels_last(even ? call.input(0) : pad_last(call.input(0), begin, end));
  return {at::convolution(x, w, bias_of(call), window.stride(), even ? begin : none,
                          window.dilation(), false, none, call.attributes().get_int("group", 1))};
}

/// Computed without padding, then cropped, or padded with zeros where the output is larger.
Outputs conv_transpose(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const at::Tensor& w = call.input(1);
  const std::vector<int64_t> spatial = spatial_dims(x);
  ounce::ops::Window window = ounce::ops::read_window(call.node, spatial.size(), spatial_dims(w));
  const std::vector<int64_t> wanted = ounce::ops::wanted_output_shape(call.node, spatial.size());
  std::vector<int64_t> stride, dilation, before, after;
  for (size_t i = 0; i < spatial.size(); ++i) {
    ounce::ops::WindowAxis& axis = window.axes[i];
    const int64_t out = ounce::ops::resolve_transposed(window, axis, spatial[i], wanted[i]);
    const int64_t full = (spatial[i] - 1) * axis.stride + axis.extent();
    stride.push_back(axis.stride);
    dilation.push_back(axis.dilation);
    before.push_back(-axis.pad_begin);
    after.push_back(out - full + axis.pad_begin);
  }
  const std::vector<int64_t> none(spatial.size(), 0);
  at::Tensor y = at::convolution(x, w, {}, stride, none, dilation, true, none,
                                 call.attributes().get_int("group", 1));
  y = pad_last(y, before, after);
  return {call.has(2) ? y + along_axis(call.inputs[2], 1, y.dim()) : y};
}

/// y = alpha * a' b' + beta * c.
Outputs gemm(const OpCall& call) {
  const AttributeMap& attributes = call.attributes();
  const double alpha = attributes.get_float("alpha", 1.0F);
  const double beta = attributes.get_float("beta", 1.0F);
  const bool transposed = attributes.get_int("transA", 0) != 0;
  const at::Tensor a = transposed ? call.input(0).t() : call.input(0);
  const at::Tensor b = attributes.get_int("transB", 0) != 0 ? call.input(1).t() : call.input(1);
  require(a.dim() == 2 && b.dim() == 2, "matrices wanted");
  at::Tensor y = matrix_product(a, b);
  if (alpha != 1.0) y = y * alpha;
  return {call.has(2) && beta != 0.0 ? at::add(y, call.inputs[2], beta) : y};
}

Outputs einsum(const OpCall& call) {
  const std::vector<at::Tensor> operands(call.inputs.begin(), call.inputs.end());
  return {at::einsum(call.attributes().get_string("equation", ""), operands)};
}

/// y = softmax(q kT * scale + mask) v; where a mask of bools is false, -infinity is added.
Outputs attention(const OpCall& call) {
  const at::Tensor& q = call.input(0);
  const auto default_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(q.size(-1))));
  const double scale = call.attributes().get_float("scale", default_scale);
  at::Tensor map = matrix_product(q * scale, call.input(1).transpose(-2, -1));
  if (call.has(3)) {
    const at::Tensor& mask = call.inputs[3];
    map = mask.scalar_type() == at::kBool
              ? map.masked_fill(mask.logical_not(), -std::numeric_limits<double>::infinity())
              : map + mask;
  }
  return {matrix_product(row_softmax(map), call.input(2))};
}

/// (a, b) -> (a cos - b sin, a sin + b cos) for each pair of features: (i, i + half), or
/// (2i, 2i + 1) when interleaved.
Outputs rotary_embedding(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const at::Tensor& cosine = call.input(1);
  const at::Tensor& sine = call.input(2);
  require(x.dim() >= 1 && x.size(-1) % 2 == 0, "an even head dimension wanted");
  const int64_t half = x.size(-1) / 2;
  const bool interleaved = call.attributes().get_int("interleaved", 0) != 0;
  const at::Tensor a = interleaved ? x.slice(-1, 0, x.size(-1), 2) : x.narrow(-1, 0, half);
  const at::Tensor b = interleaved ? x.slice(-1, 1, x.size(-1), 2) : x.narrow(-1, half, half);
  const at::Tensor first = a * cosine - b * sine;
  const at::Tensor second = a * sine + b * cosine;
  if (!interleaved) return {at::cat({first, second}, -1)};
  return {at::stack({first, second}, -1).reshape(x.sizes())};
}

constexpr OpRow kRows[] = {
    {"Attention", attention},
    {"Conv", conv},
    {"ConvTranspose", conv_transpose},
    {"Einsum", einsum},
    {"Gemm", gemm},
    {"MatMul", binary<matrix_product>},
    {"RotaryEmbedding", rotary_embedding},
};

}  // namespace

Family product_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
