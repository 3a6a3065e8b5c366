#pragma once

#include <string>

#include "report/report.h"

namespace ounce::report {

/// The report for a terminal: before/after table, the layers that lost most, the layers kept in
/// float and why, notes.
std::string summary_text(const Compression& report, size_t worst_layers = 5);

}  // namespace ounce::report
