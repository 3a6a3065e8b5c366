#pragma once

#include "report/report.h"

namespace ounce::report {

/// A report like one of a small vision transformer, with names that try to break out of the page,
/// numbers that were not measured, and one of everything.
Compression sample_report();

}  // namespace ounce::report
