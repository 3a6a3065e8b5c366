#include "graph/contents.h"

#include <algorithm>

#include "graph/ops/slice.h"

namespace ounce {
namespace {

/// Longer vectors are data, not shapes.
constexpr int64_t kMaxLength = 64;
/// Results beyond are left unknown, so that the arithmetic cannot overflow.
constexpr int64_t kMaxMagnitude = int64_t{1} << 31;

struct Operation {
  const Node& node;
  std::span<const Value* const> inputs;
  std::span<const SymbolicInts* const> contents;
  const Value& output;

  const SymbolicInts* content(size_t i) const {
    return i < contents.size() ? contents[i] : nullptr;
  }
  /// The numbers of input `i` when all are plain numbers.
  std::optional<std::vector<int64_t>> numbers(size_t i) const {
    if (content(i) == nullptr) return std::nullopt;
    std::vector<int64_t> result;
    for (const SymbolicInt& integer : *content(i)) {
      if (!integer.number) return std::nullopt;
      result.push_back(*integer.number);
    }
    return result;
  }
};

using Result = std::optional<SymbolicInts>;

Result shape_contents(const Operation& o) {
  if (o.inputs[0] == nullptr || !o.inputs[0]->shape) return std::nullopt;
  const SymbolicShape& shape = *o.inputs[0]->shape;
  const auto rank = static_cast<int64_t>(shape.size());
  const auto bound = [&](const char* name, int64_t fallback) {
    const int64_t axis = o.node.attributes.get_int(name, fallback);
    return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  SymbolicInts result;
  for (int64_t i = bound("start", 0); i < bound("end", rank); ++i) {
    result.emplace_back(shape[static_cast<size_t>(i)]);
  }
  return result;
}

/// Squeeze, Unsqueeze, Reshape, Cast, Identity: the same integers.
Result same_contents(const Operation& o) {
  if (o.content(0) == nullptr || !is_integer(o.output.dtype)) return std::nullopt;
  return *o.content(0);
}

Result gather_contents(const Operation& o) {
  const auto indices = o.numbers(1);
  if (o.content(0) == nullptr || !indices || o.node.attributes.get_int("axis", 0) != 0) {
    return std::nullopt;
  }
  const auto size = static_cast<int64_t>(o.content(0)->size());
  SymbolicInts result;
  for (int64_t index : *indices) {
    if (index < 0) index += size;
    if (index < 0 || index >= size) return std::nullopt;
    result.push_back((*o.content(0))[static_cast<size_t>(index)]);
  }
  return result;
}

Result slice_contents(const Operation& o) {
  const auto starts = o.numbers(1);
  const auto ends = o.numbers(2);
  const auto steps = o.node.input(4) == kNoValue ? std::vector<int64_t>{1} : o.numbers(4);
  const bool is_one = starts && ends && steps && starts->size() == 1 && ends->size() == 1 &&
                      steps->size() == 1 && (*steps)[0] != 0;
  if (o.content(0) == nullptr || !is_one) return std::nullopt;
  const auto size = static_cast<int64_t>(o.content(0)->size());
  const ops::SliceRange range = ops::resolve_slice((*starts)[0], (*ends)[0], (*steps)[0], size);
  SymbolicInts result;
  for (int64_t i = 0; i < range.count; ++i) {
    result.push_back((*o.content(0))[static_cast<size_t>(range.start + i * range.step)]);
  }
  return result;
}

Result concat_contents(const Operation& o) {
  SymbolicInts result;
  for (size_t i = 0; i < o.inputs.size(); ++i) {
    if (o.content(i) == nullptr) return std::nullopt;
    result.insert(result.end(), o.content(i)->begin(), o.content(i)->end());
  }
  return result;
}

SymbolicInt arithmetic(const std::string& op, const SymbolicInt& a, const SymbolicInt& b) {
  const auto is = [](const SymbolicInt& x, int64_t number) { return x.number == number; };
  if (!a.number || !b.number) {
    if ((op == "Mul" || op == "Div") && is(b, 1)) return a;
    if (op == "Mul" && is(a, 1)) return b;
    if ((op == "Add" || op == "Sub") && is(b, 0)) return a;
    if (op == "Add" && is(a, 0)) return b;
    return {};
  }
  const int64_t x = *a.number;
  const int64_t y = *b.number;
  const bool small =
      x < kMaxMagnitude && x > -kMaxMagnitude && y < kMaxMagnitude && y > -kMaxMagnitude;
  if (!small || (op == "Div" && y == 0)) return {};
  if (op == "Mul") return x * y;
  if (op == "Div") return x / y;
  return op == "Add" ? x + y : x - y;
}

Result arithmetic_contents(const Operation& o) {
  const SymbolicInts* a = o.content(0);
  const SymbolicInts* b = o.content(1);
  if (a == nullptr || b == nullptr || !is_integer(o.output.dtype)) return std::nullopt;
  if (a->size() != b->size() && a->size() != 1 && b->size() != 1) return std::nullopt;
  if (a->empty() || b->empty()) return std::nullopt;
  SymbolicInts result;
  for (size_t i = 0; i < std::max(a->size(), b->size()); ++i) {
    result.push_back(
        arithmetic(o.node.op, (*a)[a->size() == 1 ? 0 : i], (*b)[b->size() == 1 ? 0 : i]));
  }
  return result;
}

struct Rule {
  std::string_view op;
  Result (*contents)(const Operation&);
};

constexpr Rule kRules[] = {
    {"Shape", shape_contents},    {"Identity", same_contents},  {"Cast", same_contents},
    {"Squeeze", same_contents},   {"Unsqueeze", same_contents}, {"Reshape", same_contents},
    {"Gather", gather_contents},  {"Slice", slice_contents},    {"Concat", concat_contents},
    {"Add", arithmetic_contents}, {"Sub", arithmetic_contents}, {"Mul", arithmetic_contents},
    {"Div", arithmetic_contents},
};

}  // namespace

std::optional<SymbolicInts> contents_of_constant(const Tensor& tensor) {
  if (tensor.rank() > 1 || tensor.size() > kMaxLength || !is_integer(tensor.dtype())) {
    return std::nullopt;
  }
  const std::vector<int64_t> values = tensor.to_i64();
  return SymbolicInts(values.begin(), values.end());
}

std::optional<SymbolicInts> propagate_contents(const Node& node,
                                               std::span<const Value* const> inputs,
                                               std::span<const SymbolicInts* const> contents,
                                               const Value& output) {
  if (!output.shape || output.shape->size() > 1) return std::nullopt;
  const auto rule = std::find_if(std::begin(kRules), std::end(kRules),
                                 [&](const Rule& r) { return r.op == node.op; });
  if (rule == std::end(kRules)) return std::nullopt;
  Result result = rule->contents({node, inputs, contents, output});
  // The inferred shape has the last word on how many there are.
  const int64_t length = output.shape->empty() ? 1 : output.shape->front().value;
  if (!result || static_cast<int64_t>(result->size()) != length || length > kMaxLength) {
    return std::nullopt;
  }
  return result;
}

}  // namespace ounce
