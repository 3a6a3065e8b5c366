#include <algorithm>
#include <cmath>

#include "graph/error.h"
#include "graph/ops/families.h"
#include "graph/ops/log_grid.h"
#include "graph/ops/shape_rules.h"

namespace ounce::ops {
namespace {

/// One element, as a scalar or with dimensions of 1.
bool is_single(const SymbolicShape& shape) {
  return std::all_of(shape.begin(), shape.end(), [](const Dim& dim) { return dim == Dim(1); });
}

/// Scales of shape [] or [1] hold per tensor; [extent of `axis`] per axis; with block_size, x's
/// shape with ceil(extent / block_size) along `axis`.
void check_granularity(const InferenceContext& context) {
  const SymbolicShape* x = context.shape(0);
  const SymbolicShape* scale = context.shape(1);
  const int64_t block = context.attributes().get_int("block_size", 0);
  if (block < 0) throw Error("block_size is " + std::to_string(block));
  if (x == nullptr || scale == nullptr) return;
  const SymbolicShape* zero_point = context.shape(2);
  if (zero_point != nullptr && !(is_single(*zero_point) && is_single(*scale))) {
    require_rank(*zero_point, scale->size(), "zero point");
    for (size_t i = 0; i < scale->size(); ++i) {
      unified((*scale)[i], (*zero_point)[i], "dimensions of scale and zero point");
    }
  }
  const bool per_tensor = scale->empty() || (scale->size() == 1 && scale->front() == Dim(1));
  if (block == 0 && per_tensor) return;
  const size_t axis = axis_index(context.attributes().get_int("axis", 1), x->size());
  if (block == 0) {
    require_rank(*scale, 1, "scale");
    unified(scale->front(), (*x)[axis],
            "length of the scale and extent of axis " + std::to_string(axis));
    return;
  }
  require_rank(*scale, x->size(), "blocked scale");
  for (size_t i = 0; i < x->size(); ++i) {
    Dim wanted = (*x)[i];
    if (i == axis && wanted.known()) {
      wanted = wanted.value == 0 ? 0 : (wanted.value - 1) / block + 1;
    } else if (i == axis) {
      continue;
    }
    unified((*scale)[i], wanted, "dimensions of blocked scale and input");
  }
}

void infer_quantize(InferenceContext& context) {
  check_granularity(context);
  DType dtype = DType::u8;
  const int64_t code = context.attributes().get_int("output_dtype", 0);
  if (context.has_input(2)) {
    dtype = context.dtype(2);
    if (code != 0 && dtype != DType::undefined && dtype_from_onnx(code) != dtype) {
      throw Error("output_dtype contradicts the zero point's " + std::string(name_of(dtype)));
    }
  } else if (code != 0) {
    dtype = dtype_from_onnx(code);
  }
  infer_same_as_input(context);
  context.set_output(0, dtype);
}

void infer_dequantize(InferenceContext& context) {
  check_granularity(context);
  if (context.has_input(2) && context.dtype(0) != DType::undefined &&
      context.dtype(2) != DType::undefined && context.dtype(0) != context.dtype(2)) {
    throw Error("zero point is " + std::string(name_of(context.dtype(2))) + ", input " +
                std::string(name_of(context.dtype(0))));
  }
  infer_same_as_input(context);
  context.set_output(0, context.dtype(1));
}

void infer_dynamic_quantize(InferenceContext& context) {
  infer_same_as_input(context);
  context.set_output(0, DType::u8);
  context.set_output(1, DType::f32, SymbolicShape{});
  context.set_output(2, DType::u8, SymbolicShape{});
}

/// y = scale * sign(x), sign(0) = +1; with `unsigned` scale * (x > scale / 2 ? 1 : 0). Scale per
/// tensor or along `axis`.
void infer_binarize(InferenceContext& context) {
  check_granularity(context);
  infer_same_as_input(context);
}

/// y = (code - zero_point) * scale with code = clamp(round_half_even(x / scale) + zero_point) of
/// `bits` (2 to 8) bits, on a grid made from x itself: one a row of the last axis with `per_token`,
/// else one for all; symmetric around 0 with `symmetric`, else from min(x, 0) to max(x, 0).
void infer_dynamic_fake_quant(InferenceContext& context) {
  const int64_t bits = context.attributes().get_int("bits", 8);
  if (bits < 2 || bits > 8) throw Error("bits is " + std::to_string(bits) + ", not 2 to 8");
  const SymbolicShape* x = context.shape(0);
  if (x != nullptr && x->empty() && context.attributes().get_int("per_token", 0) != 0) {
    throw Error("a scalar has no tokens");
  }
  infer_same_as_input(context);
}

/// y = base^-k of values in [0, 1], k = round(-log_base(x)) clamped to [0, 2^bits - 1], where base
/// = 2^(1 / steps_per_octave).
void infer_log_quantize(InferenceContext& context) {
  log_grid_of(context.attributes());
  infer_same_as_input(context);
}

const OperatorSchema kRows[] = {
    {.name = "QuantizeLinear",
     .min_inputs = 2,
     .max_inputs = 3,
     .since_opset = 13,
     .infer = infer_quantize},
    {.name = "DequantizeLinear",
     .min_inputs = 2,
     .max_inputs = 3,
     .since_opset = 13,
     .infer = infer_dequantize},
    {.name = "DynamicQuantizeLinear",
     .min_outputs = 3,
     .max_outputs = 3,
     .since_opset = 11,
     .infer = infer_dynamic_quantize},
    {.name = "Binarize", .domain = "ounce", .max_inputs = 2, .infer = infer_binarize},
    {.name = "DynamicFakeQuant", .domain = "ounce", .infer = infer_dynamic_fake_quant},
    {.name = "LogQuantize", .domain = "ounce", .infer = infer_log_quantize},
    // Rounding that is being trained: its quantizer goes by the node's name.
    {.name = "FakeQuant", .domain = "ounce", .infer = infer_same_as_input},
};

}  // namespace

double LogGrid::power(int code) const {
  return std::exp2(-static_cast<double>(code) / steps_per_octave);
}

std::vector<float> LogGrid::values() const {
  std::vector<float> values;
  for (int code = 0; code <= last(); ++code) values.push_back(static_cast<float>(power(code)));
  if (zero_below) values.back() = 0.0F;
  return values;
}

LogGrid log_grid_of(const AttributeMap& attributes) {
  const int64_t bits = attributes.get_int("bits", 4);
  const int64_t steps = attributes.get_int("steps_per_octave", 1);
  const int64_t zero_below = attributes.get_int("zero_below", 0);
  // 2^-63 is still a normal number.
  const bool known = bits >= 1 && bits <= (zero_below == 0 ? 6 : 5) && (steps == 1 || steps == 2);
  if (!known) throw Error("no such codes", {}, "bits 1 to 6 and steps_per_octave 1 or 2");
  return {static_cast<int>(bits), static_cast<int>(steps), zero_below != 0};
}

Family quantize_operators() {
  return kRows;
}

}  // namespace ounce::ops
