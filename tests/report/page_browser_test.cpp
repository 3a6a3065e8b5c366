// Opens the page in a real browser: no console errors, no requests, charts drawn, tables right.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "report/html.h"
#include "report/json.h"
#include "tests/report/sample_report.h"
#include "tests/support/test_data.h"

namespace ounce::report {
namespace {

bool runs(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;  // NOLINT: fixed commands
}

/// Runs the browser script on `report`; its output appears in the test log. With
/// OUNCE_SCREENSHOTS=prefix it also leaves pictures of the page.
int browser_verdict(const Compression& report) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path page = folder.path() / "report.html";
  const std::filesystem::path data = folder.path() / "report.json";
  std::ofstream(page) << html_page(report);
  std::ofstream(data) << json_text(to_json(report));
  const std::string command = "node tests/report/browser/page_test.mjs '" + page.string() + "' '" +
                              data.string() + "' ${OUNCE_SCREENSHOTS:+\"$OUNCE_SCREENSHOTS\"}";
  return std::system(command.c_str());  // NOLINT: our own paths
}

class PageInBrowser : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!runs("node --version")) GTEST_SKIP() << "no node: the page is not opened in a browser";
    if (!runs("test -x \"${OUNCE_BROWSER:-/usr/bin/chromium}\"")) {
      GTEST_SKIP() << "no chromium (set OUNCE_BROWSER): the page is not opened in a browser";
    }
    if (!std::filesystem::exists("web/node_modules/playwright-core")) {
      GTEST_SKIP() << "no playwright-core: run `npm ci` in web/";
    }
  }
};

TEST_F(PageInBrowser, DrawsEveryChartAndTableOfAFullReport) {
  EXPECT_EQ(browser_verdict(sample_report()), 0);
}

TEST_F(PageInBrowser, CopesWithAReportOfWhichNothingWasMeasured) {
  Compression bare;
  bare.model = "model.onnx";
  bare.before.label = "float";
  bare.after.label = "W8A8";
  EXPECT_EQ(browser_verdict(bare), 0);
}

}  // namespace
}  // namespace ounce::report
