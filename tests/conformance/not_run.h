#pragma once

#include <span>
#include <string_view>

#include "tests/conformance/suite.h"

namespace ounce::testing {

/// What of a case the pattern of a row is compared with.
enum class NotRunBy { name, op, domain, type };

/// Cases that ounce does not claim to run, and why. `pattern` may hold '*'.
struct NotRunRow {
  NotRunBy by;
  std::string_view pattern;
  std::string_view reason;
};

/// The one table that decides which cases are not run.
std::span<const NotRunRow> not_run_rows();

/// Whether a row speaks of a case.
bool applies(const NotRunRow& row, const ConformanceCase& test);

/// The first row that speaks of the case; nullptr: it must pass.
const NotRunRow* why_not_run(const ConformanceCase& test);

}  // namespace ounce::testing
