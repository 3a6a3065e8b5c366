#include "graph/ops/shape_rules.h"

#include <algorithm>
#include <limits>

#include "graph/error.h"

namespace ounce::ops {

int64_t checked_range(int64_t value, std::string_view what) {
  if (value > kMaxDim || value < -kMaxDim) {
    throw Error(std::string(what) + " " + std::to_string(value) + " is too large");
  }
  return value;
}

int64_t checked_product(int64_t a, int64_t b) {
  if (a < 0 || b < 0) throw Error("negative extent " + std::to_string(std::min(a, b)));
  if (a != 0 && b > kMaxDim / a) {
    throw Error("extent " + std::to_string(a) + " x " + std::to_string(b) + " is too large");
  }
  return a * b;
}

int64_t saturating_product(int64_t a, int64_t b) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  return a != 0 && b > most / a ? most : a * b;
}

int64_t checked_sum(int64_t a, int64_t b) {
  return checked_range(checked_range(a, "extent") + checked_range(b, "extent"), "extent");
}

Dim operator*(const Dim& a, const Dim& b) {
  if (a.known() && b.known()) return checked_product(a.value, b.value);
  if (a.known() && a.value == 1) return b;
  if (b.known() && b.value == 1) return a;
  return {};
}

Dim operator+(const Dim& a, const Dim& b) {
  if (a.known() && b.known()) return checked_sum(a.value, b.value);
  if (a.known() && a.value == 0) return b;
  if (b.known() && b.value == 0) return a;
  return {};
}

Dim unified(const Dim& a, const Dim& b, std::string_view what) {
  if (a.known() && b.known() && a.value != b.value) {
    throw Error(std::string(what) + " differ: " + std::to_string(a.value) + " and " +
                std::to_string(b.value));
  }
  if (a.known() || (!b.known() && !a.symbol.empty())) return a;
  return b;
}

SymbolicShape broadcast(const SymbolicShape& a, const SymbolicShape& b) {
  const SymbolicShape& longer = a.size() >= b.size() ? a : b;
  const SymbolicShape& shorter = a.size() >= b.size() ? b : a;
  SymbolicShape result = longer;
  const size_t offset = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) {
    Dim& dim = result[offset + i];
    const Dim& other = shorter[i];
    if (dim == other || (other.known() && other.value == 1)) continue;
    if (dim.known() && dim.value == 1) {
      dim = other;
    } else if (dim.known() && other.known()) {
      throw Error("shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    } else if (other.known()) {
      dim = other;  // the unknown one can only be 1 or equal
    } else if (!dim.known()) {
      dim = Dim();  // two different symbols: either may turn out to be 1
    }
  }
  return result;
}

std::optional<SymbolicShape> broadcast_inputs(const InferenceContext& context, size_t first,
                                              size_t count) {
  std::optional<SymbolicShape> result;
  for (size_t i = first; i < first + count; ++i) {
    if (!context.has_input(i)) continue;
    if (context.shape(i) == nullptr) return std::nullopt;
    result = result ? broadcast(*result, *context.shape(i)) : *context.shape(i);
  }
  return result;
}

SymbolicShape unknown_dims(size_t rank) {
  return SymbolicShape(rank);
}

void require_rank(const SymbolicShape& shape, size_t rank, std::string_view what) {
  if (shape.size() == rank) return;
  throw Error(std::string(what) + " " + to_string(shape) + " must have rank " +
              std::to_string(rank));
}

void require_min_rank(const SymbolicShape& shape, size_t rank, std::string_view what) {
  if (shape.size() >= rank) return;
  throw Error(std::string(what) + " " + to_string(shape) + " must have at least rank " +
              std::to_string(rank));
}

size_t axis_index(int64_t axis, size_t rank) {
  return static_cast<size_t>(normalize_axis(axis, static_cast<int64_t>(rank)));
}

std::vector<size_t> axis_indices(std::span<const int64_t> axes, size_t rank) {
  std::vector<size_t> result;
  std::vector<bool> seen(rank, false);
  for (const int64_t axis : axes) {
    const size_t index = axis_index(axis, rank);
    if (seen[index]) throw Error("axis " + std::to_string(axis) + " is named twice");
    seen[index] = true;
    result.push_back(index);
  }
  return result;
}

std::optional<std::vector<int64_t>> constant_ints(const InferenceContext& context, size_t input) {
  const Tensor* tensor = context.constant(input);
  if (tensor == nullptr) return std::nullopt;
  if (tensor->rank() > 1) {
    throw Error("input " + std::to_string(input) + " must be a list of integers, has shape " +
                to_string(tensor->shape()));
  }
  return tensor->to_i64();
}

std::optional<double> constant_number(const InferenceContext& context, size_t input) {
  const Tensor* tensor = context.constant(input);
  if (tensor == nullptr) return std::nullopt;
  if (tensor->size() != 1) {
    throw Error("input " + std::to_string(input) + " must be one number, has shape " +
                to_string(tensor->shape()));
  }
  if (is_float(tensor->dtype())) {
    return tensor->dtype() == DType::f64 ? tensor->data<double>()[0]
                                         : static_cast<double>(tensor->to_f32()[0]);
  }
  return static_cast<double>(tensor->to_i64()[0]);
}

std::optional<int64_t> constant_int(const InferenceContext& context, size_t input) {
  const Tensor* tensor = context.constant(input);
  if (tensor == nullptr) return std::nullopt;
  if (tensor->size() != 1) {
    throw Error("input " + std::to_string(input) + " must be one integer, has shape " +
                to_string(tensor->shape()));
  }
  return tensor->to_i64()[0];
}

std::optional<int64_t> known_length(const InferenceContext& context, size_t input) {
  const SymbolicShape* shape = context.shape(input);
  if (shape == nullptr) return std::nullopt;
  require_rank(*shape, 1, "input " + std::to_string(input));
  if (!shape->front().known()) return std::nullopt;
  return shape->front().value;
}

DType dtype_from_onnx(int64_t code) {
  switch (code) {
    case 1:
      return DType::f32;
    case 2:
      return DType::u8;
    case 3:
      return DType::i8;
    case 4:
      return DType::u16;
    case 5:
      return DType::i16;
    case 6:
      return DType::i32;
    case 7:
      return DType::i64;
    case 9:
      return DType::boolean;
    case 10:
      return DType::f16;
    case 11:
      return DType::f64;
    case 12:
      return DType::u32;
    case 13:
      return DType::u64;
    case 16:
      return DType::bf16;
    case 21:
      return DType::u4;
    case 22:
      return DType::i4;
    default:
      break;
  }
  throw Error("data type " + std::to_string(code) + " is not supported", {},
              "float32, float16, bfloat16, float64, integers or bool");
}

void set_output(InferenceContext& context, size_t i, DType dtype,
                std::optional<SymbolicShape> shape) {
  if (shape) {
    context.set_output(i, dtype, std::move(*shape));
  } else {
    context.set_output(i, dtype);
  }
}

void infer_same_as_input(InferenceContext& context) {
  const SymbolicShape* shape = context.shape(0);
  set_output(context, 0, context.dtype(0), shape != nullptr ? std::optional(*shape) : std::nullopt);
}

void infer_broadcast(InferenceContext& context) {
  set_output(context, 0, context.dtype(0), broadcast_inputs(context, 0, context.input_count()));
}

Shape shape_of(const Value& value) {
  const auto shape = value.shape ? concrete(*value.shape) : std::nullopt;
  if (!shape) throw Error("the shape of '" + value.name + "' is not known");
  return *shape;
}

int64_t elements(const Value& value) {
  return element_count(shape_of(value));
}

}  // namespace ounce::ops
