#pragma once

#include <span>
#include <string_view>

namespace ounce::testing {

/// An operator of the graph that has no form on libtorch, and why.
struct UntrainedRow {
  std::string_view op;
  std::string_view reason;
};

std::span<const UntrainedRow> untrained_rows();
/// The row of `op`, or nullptr.
const UntrainedRow* why_untrained(std::string_view op);

}  // namespace ounce::testing
