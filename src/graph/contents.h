#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace ounce {

/// One integer of a tensor that describes a shape: a number (which may be -1 or another negative),
/// the value of a named dimension, or unknown.
struct SymbolicInt {
  std::optional<int64_t> number;
  std::string symbol;

  SymbolicInt() = default;
  SymbolicInt(int64_t known) : number(known) {}  // NOLINT: a number is an integer
  explicit SymbolicInt(const Dim& dim) : symbol(dim.symbol) {
    if (dim.known()) number = dim.value;
  }

  /// As a dimension; negative numbers are none and give an unknown one.
  Dim dim() const { return number ? (*number >= 0 ? Dim(*number) : Dim()) : Dim(symbol); }
  bool operator==(const SymbolicInt&) const = default;
};

/// The integers of a scalar or vector, in order.
using SymbolicInts = std::vector<SymbolicInt>;

/// The integers of a constant of rank 0 or 1; nullopt for any other.
std::optional<SymbolicInts> contents_of_constant(const Tensor& tensor);

/// Follows the arithmetic that exporters write for shapes (Shape, Gather, Concat, Mul, ...) where
/// some dimensions are only named. `contents` holds what is known of each input (nullptr: nothing),
/// `output` the inferred dtype and shape. nullopt when the node does something else.
std::optional<SymbolicInts> propagate_contents(const Node& node,
                                               std::span<const Value* const> inputs,
                                               std::span<const SymbolicInts* const> contents,
                                               const Value& output);

}  // namespace ounce
