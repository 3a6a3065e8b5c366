#pragma once

#include <string>

#include "report/report.h"

namespace ounce::report {

/// The report as one self-contained HTML page: styles, scripts, charts library and data inside; it
/// makes no request to anywhere. Names from files are data only, never markup.
std::string html_page(const Compression& report);

}  // namespace ounce::report
