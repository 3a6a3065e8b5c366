#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/operator.h"

/// What the shape-inference functions of graph/ops/ share.
namespace ounce::ops {

/// Largest extent of one dimension that an operator may make: products of a few such numbers with
/// small factors stay far from overflow, and no real tensor comes near.
inline constexpr int64_t kMaxDim = int64_t{1} << 40;

/// a * b for non-negative factors; throws `Error` above `kMaxDim`.
int64_t checked_product(int64_t a, int64_t b);
/// a + b, with the same limit on the magnitude.
int64_t checked_sum(int64_t a, int64_t b);
/// Throws unless |value| <= kMaxDim; `what` names it.
int64_t checked_range(int64_t value, std::string_view what);

/// a * b for non-negative factors, at most the largest int64 (costs of absurd shapes).
int64_t saturating_product(int64_t a, int64_t b);

Dim operator*(const Dim& a, const Dim& b);
Dim operator+(const Dim& a, const Dim& b);

/// Throws when both are known and differ; otherwise the more informative one.
Dim unified(const Dim& a, const Dim& b, std::string_view what);

/// ONNX (numpy) broadcasting; throws `Error` when the shapes do not fit.
SymbolicShape broadcast(const SymbolicShape& a, const SymbolicShape& b);
/// nullopt when any input's rank is unknown.
std::optional<SymbolicShape> broadcast_inputs(const InferenceContext& context, size_t first,
                                              size_t count);

/// `rank` dimensions, none known.
SymbolicShape unknown_dims(size_t rank);

/// Throws `Error` unless shape has this rank.
void require_rank(const SymbolicShape& shape, size_t rank, std::string_view what);
void require_min_rank(const SymbolicShape& shape, size_t rank, std::string_view what);

/// `normalize_axis` as an index.
size_t axis_index(int64_t axis, size_t rank);
/// Normalised axes, each at most once; throws otherwise.
std::vector<size_t> axis_indices(std::span<const int64_t> axes, size_t rank);

/// The integers of a 0- or 1-dimensional constant input; nullopt when its content is unknown or the
/// input is omitted.
std::optional<std::vector<int64_t>> constant_ints(const InferenceContext& context, size_t input);
/// The single number of a constant input.
std::optional<double> constant_number(const InferenceContext& context, size_t input);
std::optional<int64_t> constant_int(const InferenceContext& context, size_t input);
/// Number of elements of a 1-D input of known shape.
std::optional<int64_t> known_length(const InferenceContext& context, size_t input);

/// The dtype that ONNX numbers `code` (TensorProto.DataType); throws `Error` for an unsupported
/// one.
DType dtype_from_onnx(int64_t code);

/// Sets output `i` with a shape if there is one, else the dtype alone.
void set_output(InferenceContext& context, size_t i, DType dtype,
                std::optional<SymbolicShape> shape);

/// Output 0 has the dtype and shape of input 0.
void infer_same_as_input(InferenceContext& context);
/// All inputs broadcast together; dtype of the first.
void infer_broadcast(InferenceContext& context);

/// Elements of a Value whose shape is concrete.
int64_t elements(const Value& value);
/// The concrete shape of a Value.
Shape shape_of(const Value& value);

}  // namespace ounce::ops
