#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ounce::ops {

/// A parsed Einsum equation: one label a dimension, '.' for the ellipsis.
struct Einsum {
  std::vector<std::string> inputs;
  std::string output;
};

/// Parses "ij,jk->ik", "...ij->...ji", also without "->" (then the output has the labels that occur
/// once, in alphabetical order, behind the ellipsis). Throws `Error` for anything else.
Einsum parse_einsum(std::string_view equation);

}  // namespace ounce::ops
