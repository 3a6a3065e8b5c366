#include "tests/conformance/outcomes.h"

#include <fstream>
#include <map>

#include "graph/error.h"
#include "tests/conformance/not_run.h"

namespace ounce::testing {
namespace {

std::map<const ConformanceCase*, std::set<std::string>>& passed() {
  static std::map<const ConformanceCase*, std::set<std::string>> executors;
  return executors;
}

/// What a case is counted under: its operator; cases that ONNX writes out in several operators have
/// a row of their own.
std::string heading(const ConformanceCase& test) {
  if (test.operators.size() == 1) return *test.operators.begin();
  return "several operators";
}

struct Row {
  int cases = 0;
  std::map<std::string, int> passed;  // by executor
};

using Rows = std::map<std::string, Row>;
/// reason -> suite -> names of cases
using NotRun = std::map<std::string, std::map<std::string, std::vector<std::string>>>;

void collect(Rows& rows, NotRun& not_run) {
  for (const ConformanceSuite& suite : conformance_suites()) {
    for (const ConformanceCase& test : suite.cases) {
      if (const NotRunRow* row = why_not_run(test)) {
        not_run[std::string(row->reason)][test.suite].push_back(test.name);
        continue;
      }
      Row& row = rows[heading(test)];
      ++row.cases;
      for (const std::string& executor : passed()[&test]) ++row.passed[executor];
    }
  }
}

void write_passed(std::ostream& page, Rows& rows) {
  page << "| operator | cases | reference | session |\n| --- | ---: | ---: | ---: |\n";
  Row total;
  for (auto& [name, row] : rows) {
    page << "| " << name << " | " << row.cases << " | " << row.passed["reference"] << " | "
         << row.passed["session"] << " |\n";
    total.cases += row.cases;
    for (const auto& [executor, count] : row.passed) total.passed[executor] += count;
  }
  page << "| **all** | " << total.cases << " | " << total.passed["reference"] << " | "
       << total.passed["session"] << " |\n";
}

void write_not_run(std::ostream& page, const NotRun& not_run) {
  for (const auto& [reason, suites] : not_run) {
    size_t count = 0;
    for (const auto& [suite, names] : suites) count += names.size();
    page << "\n### " << reason << " (" << count << ")\n\n";
    for (const auto& [suite, names] : suites) {
      page << "- ONNX " << suite << ":";
      for (const std::string& name : names) page << " `" << name << "`";
      page << "\n";
    }
  }
}

}  // namespace

void note_passed(const ConformanceCase& test, const std::string& executor) {
  passed()[&test].insert(executor);
}

void write_conformance_table(const std::filesystem::path& path) {
  Rows rows;
  NotRun not_run;
  collect(rows, not_run);
  std::ofstream page(path);
  page
      << "# Conformance with ONNX\n\n"
         "Written by `OUNCE_WRITE_CONFORMANCE=docs/conformance.md test_conformance`; not edited by "
         "hand.\n\n"
         "The suites of ONNX 1.12 (Debian's `libonnx-testdata`) and ONNX 1.18, each case "
         "run by the naive reference operators and by the engine's `Session`. Floats agree within "
         "1e-7 + 1e-3 |expected|, integers exactly.\n\n## Passed\n\n";
  write_passed(page, rows);
  page << "\n## Not run\n\nDecided by the table in `tests/conformance/not_run.cpp`.\n";
  write_not_run(page, not_run);
  if (!page.flush()) throw Error("cannot write the table", path.string());
}

}  // namespace ounce::testing
