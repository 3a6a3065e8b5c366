#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"

#include "graph/error.h"

namespace ounce::ops {
namespace {

void infer_comparison(InferenceContext& context) {
  set_output(context, 0, DType::boolean, broadcast_inputs(context, 0, context.input_count()));
}

void infer_predicate(InferenceContext& context) {
  infer_same_as_input(context);
  context.set_output(0, DType::boolean);
}

void infer_where(InferenceContext& context) {
  set_output(context, 0, context.dtype(1), broadcast_inputs(context, 0, 3));
}

void infer_cast(InferenceContext& context) {
  infer_same_as_input(context);
  context.set_output(0, dtype_from_onnx(context.attributes().get_int("to", 0)));
}

void infer_cast_like(InferenceContext& context) {
  infer_same_as_input(context);
  context.set_output(0, context.dtype(1));
}

/// The slope broadcasts to x, not the other way round.
void infer_prelu(InferenceContext& context) {
  if (context.shape(0) != nullptr && context.shape(1) != nullptr &&
      broadcast(*context.shape(0), *context.shape(1)).size() != context.shape(0)->size()) {
    throw Error("slope " + to_string(*context.shape(1)) + " does not broadcast to " +
                to_string(*context.shape(0)));
  }
  infer_same_as_input(context);
}

void infer_dropout(InferenceContext& context) {
  infer_same_as_input(context);
  const SymbolicShape* shape = context.shape(0);
  set_output(context, 1, DType::boolean, shape != nullptr ? std::optional(*shape) : std::nullopt);
}

void infer_softmax(InferenceContext& context) {
  if (const SymbolicShape* shape = context.shape(0)) {
    axis_index(context.attributes().get_int("axis", -1), shape->size());
  }
  infer_same_as_input(context);
}

/// Exponential, sum and division: three operations an element.
Cost softmax_cost(const Node&, std::span<const Value* const> inputs,
                  std::span<const Value* const>) {
  return {.ops = 3 * elements(*inputs[0])};
}

Cost free_of_cost(const Node&, std::span<const Value* const>, std::span<const Value* const>) {
  return {};
}

OperatorSchema unary(std::string_view name, int since = 7) {
  return {.name = name, .since_opset = since, .infer = infer_same_as_input};
}

OperatorSchema binary(std::string_view name, int since = 7) {
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 2,
          .since_opset = since,
          .infer = infer_broadcast};
}

OperatorSchema comparison(std::string_view name, int since = 7) {
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 2,
          .since_opset = since,
          .infer = infer_comparison};
}

OperatorSchema variadic(std::string_view name) {
  return {.name = name, .max_inputs = kVariadic, .since_opset = 8, .infer = infer_broadcast};
}

OperatorSchema softmax(std::string_view name) {
  return {.name = name, .since_opset = 13, .infer = infer_softmax, .cost = softmax_cost};
}

const OperatorSchema kRows[] = {
    unary("Abs"),
    unary("Acos"),
    unary("Acosh", 9),
    unary("Asin"),
    unary("Asinh", 9),
    unary("Atan"),
    unary("Atanh", 9),
    unary("Ceil"),
    unary("Celu", 12),
    unary("Cos"),
    unary("Cosh", 9),
    unary("Elu"),
    unary("Erf", 9),
    unary("Exp"),
    unary("Floor"),
    unary("Gelu", 20),
    unary("HardSigmoid"),
    unary("HardSwish", 14),
    unary("LeakyRelu"),
    unary("Log"),
    unary("Mish", 18),
    unary("Neg"),
    unary("Reciprocal"),
    unary("Relu"),
    unary("Round", 11),
    unary("Selu"),
    unary("Shrink", 9),
    unary("Sigmoid"),
    unary("Sign", 9),
    unary("Sin"),
    unary("Sinh", 9),
    unary("Softplus"),
    unary("Softsign"),
    unary("Sqrt"),
    unary("Tan"),
    unary("Tanh"),
    unary("ThresholdedRelu", 10),
    unary("Not"),
    unary("BitwiseNot", 18),
    binary("Add"),
    binary("And"),
    binary("BitwiseAnd", 18),
    binary("BitwiseOr", 18),
    binary("BitwiseXor", 18),
    binary("BitShift", 11),
    binary("Div"),
    binary("Mod", 10),
    binary("Mul"),
    binary("Or"),
    binary("Pow"),
    binary("Sub"),
    binary("Xor"),
    comparison("Equal"),
    comparison("Greater"),
    comparison("GreaterOrEqual", 12),
    comparison("Less"),
    comparison("LessOrEqual", 12),
    variadic("Max"),
    variadic("Mean"),
    variadic("Min"),
    variadic("Sum"),
    softmax("Softmax"),
    softmax("LogSoftmax"),
    softmax("Hardmax"),
    {.name = "IsNaN", .since_opset = 9, .infer = infer_predicate},
    {.name = "IsInf", .since_opset = 10, .infer = infer_predicate},
    {.name = "Clip", .max_inputs = 3, .since_opset = 11, .infer = infer_same_as_input},
    {.name = "PRelu", .min_inputs = 2, .max_inputs = 2, .since_opset = 9, .infer = infer_prelu},
    {.name = "Where", .min_inputs = 3, .max_inputs = 3, .since_opset = 9, .infer = infer_where},
    {.name = "Cast", .since_opset = 9, .infer = infer_cast},
    {.name = "CastLike",
     .min_inputs = 2,
     .max_inputs = 2,
     .since_opset = 15,
     .infer = infer_cast_like},
    {.name = "Identity", .infer = infer_same_as_input, .cost = free_of_cost},
    {.name = "Dropout",
     .max_inputs = 3,
     .max_outputs = 2,
     .since_opset = 12,
     .infer = infer_dropout,
     .cost = free_of_cost},
};

}  // namespace

Family elementwise_operators() {
  return kRows;
}

}  // namespace ounce::ops
