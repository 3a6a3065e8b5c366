#pragma once

#include <string>
#include <vector>

#include "report/report.h"

namespace ounce::report {

/// Tensors at this ratio of signal to noise lost nothing.

/// The `count` errors with the lowest own SQNR; exact tensors are left out.
std::vector<TensorError> worst_first(const std::vector<TensorError>& errors, size_t count);

/// All errors as a table, in network order.
std::string errors_text(const std::vector<TensorError>& errors);

/// What breaks first, what ails the model in words and flags, and the `count` layers that cost its
/// outputs most. Empty when there is nothing to say.
std::string examination_text(const Examination& examination, size_t count = 10);

/// The report for a terminal: before/after table, the layers that lost most, the layers kept in
/// float and why, notes.
std::string summary_text(const Compression& report, size_t worst_layers = 5);

}  // namespace ounce::report
