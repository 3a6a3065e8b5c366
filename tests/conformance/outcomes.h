#pragma once

#include <string>

#include "tests/conformance/suite.h"

namespace ounce::testing {

/// Notes that an executor ("reference", "session") passed a case of this run.
void note_passed(const ConformanceCase& test, const std::string& executor);

/// Writes what passed in this run, operator by operator, and every case that was not run with its
/// reason, as a Markdown page.
void write_conformance_table(const std::filesystem::path& path);

}  // namespace ounce::testing
