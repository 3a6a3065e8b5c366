#include "graph/error.h"
#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"

namespace ounce::ops {
namespace {

/// Input `input` holds one number a channel.
void check_per_channel(const InferenceContext& context, size_t input, const Dim& channels) {
  const SymbolicShape* shape = context.shape(input);
  if (shape == nullptr) return;
  require_rank(*shape, 1, "input " + std::to_string(input));
  unified(shape->front(), channels, "channels and length of input " + std::to_string(input));
}

void infer_batch_norm(InferenceContext& context) {
  if (context.attributes().get_int("training_mode", 0) != 0) {
    throw Error("training mode is not supported", {}, "exporting the model for inference");
  }
  infer_same_as_input(context);
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  require_min_rank(*x, 1, "input");
  const Dim channels = x->size() > 1 ? (*x)[1] : Dim(1);
  for (size_t input = 1; input < 5; ++input) check_per_channel(context, input, channels);
}

void infer_instance_norm(InferenceContext& context) {
  infer_same_as_input(context);
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  require_min_rank(*x, 3, "input");
  check_per_channel(context, 1, (*x)[1]);
  check_per_channel(context, 2, (*x)[1]);
}

void infer_group_norm(InferenceContext& context) {
  infer_instance_norm(context);
  const int64_t groups = context.attributes().get_int("num_groups", 0);
  if (groups < 1) throw Error("num_groups is " + std::to_string(groups));
  const SymbolicShape* x = context.shape(0);
  if (x != nullptr && (*x)[1].known() && (*x)[1].value % groups != 0) {
    throw Error("num_groups " + std::to_string(groups) + " does not divide " +
                std::to_string((*x)[1].value) + " channels");
  }
}

/// Scale and bias broadcast to the normalised dimensions x[axis:].
void infer_layer_norm(InferenceContext& context) {
  infer_same_as_input(context);
  context.set_output(1, DType::f32);
  context.set_output(2, DType::f32);
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  const size_t axis = axis_index(context.attributes().get_int("axis", -1), x->size());
  for (const size_t input : {size_t{1}, size_t{2}}) {
    const SymbolicShape* scale = context.shape(input);
    if (scale != nullptr && broadcast(*x, *scale).size() != x->size()) {
      throw Error("input " + std::to_string(input) + " " + to_string(*scale) +
                  " does not broadcast to " + to_string(*x));
    }
  }
  SymbolicShape statistics = *x;
  for (size_t i = axis; i < statistics.size(); ++i) statistics[i] = 1;
  context.set_output(1, DType::f32, statistics);
  context.set_output(2, DType::f32, std::move(statistics));
}

void infer_lp_norm(InferenceContext& context) {
  if (const SymbolicShape* x = context.shape(0)) {
    axis_index(context.attributes().get_int("axis", -1), x->size());
  }
  infer_same_as_input(context);
}

void infer_lrn(InferenceContext& context) {
  if (context.attributes().get_int("size", 0) < 1) throw Error("attribute 'size' must be positive");
  if (context.shape(0) != nullptr) require_min_rank(*context.shape(0), 2, "input");
  infer_same_as_input(context);
}

/// Scale and shift.
Cost affine_cost(const Node&, std::span<const Value* const> inputs, std::span<const Value* const>) {
  return {.ops = 2 * elements(*inputs[0])};
}

/// Sum, sum of squares, subtract, multiply, scale, shift: the usual count of six an element.
Cost statistics_cost(const Node&, std::span<const Value* const> inputs,
                     std::span<const Value* const>) {
  return {.ops = 6 * elements(*inputs[0])};
}

const OperatorSchema kRows[] = {
    {.name = "BatchNormalization",
     .min_inputs = 5,
     .max_inputs = 5,
     .since_opset = 9,
     .infer = infer_batch_norm,
     .cost = affine_cost},
    {.name = "GroupNormalization",
     .min_inputs = 3,
     .max_inputs = 3,
     .since_opset = 21,
     .infer = infer_group_norm,
     .cost = statistics_cost},
    {.name = "InstanceNormalization",
     .min_inputs = 3,
     .max_inputs = 3,
     .since_opset = 6,
     .infer = infer_instance_norm,
     .cost = statistics_cost},
    {.name = "LayerNormalization",
     .min_inputs = 2,
     .max_inputs = 3,
     .max_outputs = 3,
     .since_opset = 17,
     .infer = infer_layer_norm,
     .cost = statistics_cost},
    {.name = "LpNormalization", .infer = infer_lp_norm, .cost = statistics_cost},
    {.name = "LRN", .infer = infer_lrn, .cost = statistics_cost},
    {.name = "MeanVarianceNormalization",
     .since_opset = 9,
     .infer = infer_same_as_input,
     .cost = statistics_cost},
    {.name = "RMSNorm",
     .domain = "ounce",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_layer_norm,
     .cost = statistics_cost},
};

}  // namespace

Family normalization_operators() {
  return kRows;
}

}  // namespace ounce::ops
