#pragma once

#include <string>
#include <vector>

#include "graph/attributes.h"
#include "graph/tensor.h"

namespace ounce::testing {

/// One call of an operator.
struct OpCase {
  std::string op;
  std::vector<Tensor> inputs;
  AttributeMap attributes = {};
  size_t outputs = 1;
};

/// Several for each operator that runs on libtorch, with random operands that are always the same.
std::vector<OpCase> trained_cases();
/// One for each operator that does not.
std::vector<OpCase> untrained_cases();

/// Operator, operands and attributes, for messages.
std::string describe(const OpCase& test);

}  // namespace ounce::testing
