#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "graph/dtype.h"
#include "graph/error.h"
#include "train/op.h"

/// What the operators of the trainer share: checks, axes, numbers of operands.
namespace ounce::train::ops {

using Outputs = std::vector<at::Tensor>;

inline void require(bool condition, const char* message) {
  if (!condition) throw Error(message);
}

/// Axes in [0, rank).
inline std::vector<int64_t> normalized_axes(std::vector<int64_t> axes, int64_t rank) {
  for (int64_t& axis : axes) axis = normalize_axis(axis, rank);
  return axes;
}

/// 0, 1, ..., count - 1.
inline std::vector<int64_t> counted(int64_t count) {
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

/// The attribute `axis` as an axis of operand 0.
inline int64_t axis_of(const OpCall& call, int64_t fallback) {
  return normalize_axis(call.attributes().get_int("axis", fallback), call.input(0).dim());
}

/// The single number of operand `i`; `fallback` when omitted.
inline double number(const OpCall& call, size_t i, double fallback) {
  if (!call.has(i)) return fallback;
  require(call.inputs[i].numel() == 1, "a single number wanted");
  return call.inputs[i].item().toDouble();
}

/// The single integer of operand `i`; `fallback` when omitted.
inline int64_t integer(const OpCall& call, size_t i, int64_t fallback) {
  if (!call.has(i)) return fallback;
  require(call.inputs[i].numel() == 1, "a single integer wanted");
  return call.inputs[i].item().toLong();
}

/// Whether somebody may read output `i`.
inline bool wants_output(const OpCall& call, size_t i) {
  return call.node.output(i) != kNoValue;
}

/// Indices on the device of `x`, to gather by.
inline at::Tensor indices_like(const std::vector<int64_t>& indices, const at::Tensor& x) {
  return at::tensor(indices, at::kLong).to(x.device());
}

/// `x` seen with its elements along `axis`, all other dimensions 1: [1, ..., n, ..., 1].
inline at::Tensor along_axis(const at::Tensor& x, int64_t axis, int64_t rank) {
  std::vector<int64_t> shape(static_cast<size_t>(rank), 1);
  shape[static_cast<size_t>(axis)] = x.numel();
  return x.reshape(shape);
}

/// `x` as `dtype`. Half precision is a rounding here: its values stay f32, as its constants do.
/// Throws `Error` for a dtype that libtorch has no equal of.
at::Tensor cast_to(const at::Tensor& x, DType dtype);

/// y = f(x) for a function of libtorch that knows its own derivative.
template <at::Tensor (*kFunction)(const at::Tensor&)>
Outputs unary(const OpCall& call) {
  return {kFunction(call.input(0))};
}

template <at::Tensor (*kFunction)(const at::Tensor&, const at::Tensor&)>
Outputs binary(const OpCall& call) {
  return {kFunction(call.input(0), call.input(1))};
}

}  // namespace ounce::train::ops
