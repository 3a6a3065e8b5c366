#include <algorithm>

#include "graph/error.h"
#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"
#include "graph/ops/window.h"

namespace ounce::ops {
namespace {

constexpr size_t kNoBias = 99;  // beyond the inputs: never given

int64_t read_group(const Node& node) {
  const int64_t group = node.attributes.get_int("group", 1);
  if (group < 1 || group > kMaxDim) throw Error("group is " + std::to_string(group));
  return group;
}

/// Spatial dimensions of weights [a, b, k...]; empty when not all are known.
Shape spatial_dims(const SymbolicShape& weights) {
  const auto known = concrete(SymbolicShape(weights.begin() + 2, weights.end()));
  return known ? *known : Shape{};
}

void check_bias(const InferenceContext& context, size_t input, const Dim& channels) {
  const SymbolicShape* bias = context.shape(input);
  if (bias == nullptr) return;
  require_rank(*bias, 1, "bias");
  unified(bias->front(), channels, "bias length and output channels");
}

void check_divides(int64_t group, const Dim& channels, const char* what) {
  if (channels.known() && channels.value % group != 0) {
    throw Error("group " + std::to_string(group) + " does not divide " +
                std::to_string(channels.value) + " " + what);
  }
}

/// y = conv(x [n, c, ...], w [m, c / group, ...]) + bias [m]: the shape of y.
void infer_forward(InferenceContext& context, size_t x_input, size_t w_input, size_t bias_input,
                   DType dtype) {
  const SymbolicShape* x = context.shape(x_input);
  const SymbolicShape* w = context.shape(w_input);
  context.set_output(0, dtype);
  const int64_t group = read_group(context.node());
  if (x == nullptr || w == nullptr) return;
  require_min_rank(*x, 3, "input");
  require_rank(*w, x->size(), "weights");
  const size_t spatial = x->size() - 2;
  check_divides(group, (*w)[0], "output channels");
  check_bias(context, bias_input, (*w)[0]);
  unified((*x)[1], (*w)[1] * Dim(group), "input channels and weight channels x group");

  SymbolicShape y = unknown_dims(x->size());
  y[0] = (*x)[0];
  y[1] = (*w)[0];
  const Shape kernel = spatial_dims(*w);
  if (!kernel.empty() || context.attributes().has("kernel_shape")) {
    Window window = read_window(context.node(), spatial, kernel);
    for (size_t i = 0; i < spatial; ++i) {
      if ((*x)[i + 2].known()) {
        y[i + 2] = resolve_forward(window, window.axes[i], (*x)[i + 2].value);
      } else if (keeps_extent(window, window.axes[i])) {
        y[i + 2] = (*x)[i + 2];
      }
    }
  }
  context.set_output(0, dtype, std::move(y));
}

void infer_conv(InferenceContext& context) {
  infer_forward(context, 0, 1, 2, context.dtype(0));
}

/// Inputs 2 and 3 are zero points; there is no bias.
void infer_conv_integer(InferenceContext& context) {
  infer_forward(context, 0, 1, kNoBias, DType::i32);
}

void infer_qlinear_conv(InferenceContext& context) {
  infer_forward(context, 0, 3, 8, context.dtype(7));
}

void infer_conv_transpose(InferenceContext& context) {
  const SymbolicShape* x = context.shape(0);
  const SymbolicShape* w = context.shape(1);
  context.set_output(0, context.dtype(0));
  const int64_t group = read_group(context.node());
  if (x == nullptr || w == nullptr) return;
  require_min_rank(*x, 3, "input");
  require_rank(*w, x->size(), "weights");
  const size_t spatial = x->size() - 2;
  const Dim channels = unified((*x)[1], (*w)[0], "input channels and weight channels");
  check_divides(group, channels, "input channels");

  SymbolicShape y = unknown_dims(x->size());
  y[0] = (*x)[0];
  y[1] = (*w)[1] * Dim(group);
  check_bias(context, 2, y[1]);
  const Shape kernel = spatial_dims(*w);
  if (!kernel.empty() || context.attributes().has("kernel_shape")) {
    Window window = read_window(context.node(), spatial, kernel);
    const std::vector<int64_t> wanted = wanted_output_shape(context.node(), spatial);
    for (size_t i = 0; i < spatial; ++i) {
      if ((*x)[i + 2].known()) {
        y[i + 2] = resolve_transposed(window, window.axes[i], (*x)[i + 2].value, wanted[i]);
      }
    }
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

/// One multiply-accumulate for each output element (input element, when transposed) and weight that
/// it meets.
Cost window_cost(const Value& positions, const Value& weights) {
  const Shape w = shape_of(weights);
  return {.macs = saturating_product(elements(positions),
                                     elements(weights) / std::max<int64_t>(w[0], 1))};
}

Cost conv_cost(const Node&, std::span<const Value* const> inputs,
               std::span<const Value* const> outputs) {
  return window_cost(*outputs[0], *inputs[1]);
}

Cost qlinear_conv_cost(const Node&, std::span<const Value* const> inputs,
                       std::span<const Value* const> outputs) {
  return window_cost(*outputs[0], *inputs[3]);
}

Cost conv_transpose_cost(const Node&, std::span<const Value* const> inputs,
                         std::span<const Value* const>) {
  return window_cost(*inputs[0], *inputs[1]);
}

const OperatorSchema kRows[] = {
    {.name = "Conv",
     .min_inputs = 2,
     .max_inputs = 3,
     .since_opset = 11,
     .infer = infer_conv,
     .cost = conv_cost},
    {.name = "ConvInteger",
     .min_inputs = 2,
     .max_inputs = 4,
     .since_opset = 10,
     .infer = infer_conv_integer,
     .cost = conv_cost},
    {.name = "ConvTranspose",
     .min_inputs = 2,
     .max_inputs = 3,
     .since_opset = 11,
     .infer = infer_conv_transpose,
     .cost = conv_transpose_cost},
    {.name = "QLinearConv",
     .min_inputs = 8,
     .max_inputs = 9,
     .since_opset = 10,
     .infer = infer_qlinear_conv,
     .cost = qlinear_conv_cost},
};

}  // namespace

Family convolution_operators() {
  return kRows;
}

}  // namespace ounce::ops
