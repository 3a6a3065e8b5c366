#include "engine/kernels/tensor/elementwise.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>

#include "engine/lowering/activation.h"
#include "engine/ops/factories.h"

namespace ounce::engine {
namespace {

bool is_f32(const StepRequest& request, ValueId id) {
  return request.dtype(id) == DType::f32;
}

int64_t output_elements(const StepRequest& request) {
  return element_count(request.shape(request.node.output(0)));
}

/// How `small` broadcasts over `large`, seen as a matrix [rows, columns].
struct BroadcastForm {
  Broadcast kind = Broadcast::kNone;
  int64_t rows = 1;
  int64_t columns = 1;
};

std::optional<BroadcastForm> broadcast_form(const Shape& large, Shape small) {
  const int64_t total = element_count(large);
  if (small == large) return BroadcastForm{Broadcast::kNone, 1, total};
  if (element_count(small) == 1) return BroadcastForm{Broadcast::kScalar, 1, total};
  small.insert(small.begin(), large.size() - small.size(), 1);
  // Leading ones, then equal dimensions: one row for all.
  size_t first = 0;
  while (first < small.size() && small[first] == 1) ++first;
  if (std::equal(small.begin() + static_cast<int64_t>(first), small.end(),
                 large.begin() + static_cast<int64_t>(first))) {
    const int64_t columns = element_count(small);
    return BroadcastForm{Broadcast::kRow, columns == 0 ? 0 : total / columns, columns};
  }
  // Equal dimensions, then trailing ones: one value a row.
  size_t last = small.size();
  while (last > 0 && small[last - 1] == 1) --last;
  if (std::equal(small.begin(), small.begin() + static_cast<int64_t>(last), large.begin())) {
    const int64_t rows = element_count(small);
    return BroadcastForm{Broadcast::kColumn, rows, rows == 0 ? 0 : total / rows};
  }
  return std::nullopt;
}

std::optional<BinaryF32> binary_kind(std::string_view op) {
  static const std::map<std::string_view, BinaryF32> kKinds = {
      {"Add", BinaryF32::kAdd}, {"Sub", BinaryF32::kSub},    {"Mul", BinaryF32::kMul},
      {"Div", BinaryF32::kDiv}, {"Min", BinaryF32::kMin},    {"Max", BinaryF32::kMax},
      {"Pow", BinaryF32::kPow}, {"PRelu", BinaryF32::kPRelu}};
  const auto found = kKinds.find(op);
  return found == kKinds.end() ? std::nullopt : std::optional(found->second);
}

std::optional<UnaryF32> unary_kind(std::string_view op) {
  static const std::map<std::string_view, UnaryF32> kKinds = {
      {"Abs", UnaryF32::kAbs},     {"Neg", UnaryF32::kNeg},
      {"Exp", UnaryF32::kExp},     {"Log", UnaryF32::kLog},
      {"Sqrt", UnaryF32::kSqrt},   {"Erf", UnaryF32::kErf},
      {"Floor", UnaryF32::kFloor}, {"Ceil", UnaryF32::kCeil},
      {"Round", UnaryF32::kRound}, {"Sin", UnaryF32::kSin},
      {"Cos", UnaryF32::kCos},     {"Reciprocal", UnaryF32::kReciprocal}};
  const auto found = kKinds.find(op);
  return found == kKinds.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace

std::unique_ptr<Step> make_activation(const StepRequest& request) {
  const auto activation = activation_of(request.graph, request.node);
  if (!activation) return nullptr;
  const ValueId x = request.node.input(0);
  const ValueId y = request.node.output(0);
  const int64_t count = output_elements(request);
  return make_step("activation_f32", [=, spec = *activation](const RunContext& context) {
    activate_f32(context.kernels, context.at<const float>(x), context.at<float>(y), count, spec);
  });
}

std::unique_ptr<Step> make_unary(const StepRequest& request) {
  const auto kind = unary_kind(request.node.op);
  const ValueId x = request.node.input(0);
  if (!kind || !is_f32(request, x)) return nullptr;
  const ValueId y = request.node.output(0);
  const int64_t count = output_elements(request);
  return make_step("unary_f32", [=, op = *kind](const RunContext& context) {
    unary_f32(context.kernels, op, context.at<const float>(x), context.at<float>(y), count);
  });
}

std::unique_ptr<Step> make_binary(const StepRequest& request) {
  const auto kind = binary_kind(request.node.op);
  const Node& node = request.node;
  if (!kind || node.inputs.size() != 2 || !is_f32(request, node.input(0)) ||
      !is_f32(request, node.input(1))) {
    return nullptr;
  }
  const Shape out = request.shape(node.output(0));
  const bool reversed = request.shape(node.input(0)) != out;
  const ValueId large = node.input(reversed ? 1 : 0);
  const ValueId small = node.input(reversed ? 0 : 1);
  if (request.shape(large) != out) return nullptr;
  const auto form = broadcast_form(out, request.shape(small));
  if (!form) return nullptr;
  const ValueId y = node.output(0);
  return make_step("binary_f32", [=, op = *kind, form = *form](const RunContext& context) {
    const auto* a = context.at<const float>(large);
    const auto* b = context.at<const float>(small);
    auto* result = context.at<float>(y);
    if (reversed) {
      binary_reversed_f32(context.kernels, op, a, b, result, form.rows, form.columns, form.kind);
    } else {
      binary_f32(context.kernels, op, a, b, result, form.rows, form.columns, form.kind);
    }
  });
}

}  // namespace ounce::engine
