#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "report/format.h"
#include "report/html.h"
#include "report/json.h"
#include "report/summary.h"
#include "report/table.h"
#include "tests/report/sample_report.h"

namespace ounce::report {
namespace {

TEST(Format, ShowsThreeSignificantDigits) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(999'999), "1.00 MB");
  EXPECT_EQ(bytes_text(22'950'000), "22.9 MB");
  EXPECT_EQ(bytes_text(std::numeric_limits<int64_t>::max()), "9.22 EB");
  EXPECT_EQ(bytes_text(-1500), "-1.50 kB");
  EXPECT_EQ(count_text(5'717'416), "5.72 M");
  EXPECT_EQ(count_text(7), "7");
  EXPECT_EQ(milliseconds_text(0.0421), "0.042 ms");
  EXPECT_EQ(milliseconds_text(10.46), "10.5 ms");
  EXPECT_EQ(milliseconds_text(1204), "1.20 s");
  EXPECT_EQ(ratio_text(10, 4), "2.50x");
  EXPECT_EQ(ratio_text(10, 0), "-");
  EXPECT_EQ(number_text(std::nan(""), 2), "-");
  EXPECT_EQ(metric_text(0.828, "%"), "82.80 %");
}

TEST(Format, PrintableTextCannotSteerATerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\n"), "a?[31mb?");
  EXPECT_EQ(printable("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(printable("\xff\xfe"), "??");
  EXPECT_EQ(printable("\xc2\x9b"), "?");        // C1 control: CSI
  EXPECT_EQ(printable("\xed\xa0\x80"), "???");  // surrogate
  EXPECT_EQ(printable("\xe2\x82"), "??");       // cut off
}

TEST(Table, AlignsColumnsAndShortensNamesInTheMiddle) {
  Table table({{"name", Table::Align::left, 9}, {"n", Table::Align::right}});
  table.add_row({"abcdefghijkl", "1"});
  table.add_row({"\xc3\xa9", "12"});
  EXPECT_EQ(table.text(),
            "name        n\n"
            "-------------\n"
            "abc..ijkl   1\n"
            "\xc3\xa9          12\n");
  EXPECT_EQ(Table({{"only"}}).text(), "");
}

TEST(Json, HoldsTheContractKeys) {
  const Json json = to_json(sample_report());
  EXPECT_EQ(json["float_bytes"], 22'950'000);
  EXPECT_EQ(json["bytes"], 5'930'000);
  EXPECT_EQ(json["files"].size(), 4u);
  EXPECT_EQ(json["kept_float"][0]["name"], "head");
  EXPECT_EQ(json["diagnoses"][0]["flag"], "--set 'blocks.2.mlp.fc1:range=minmax'");
  EXPECT_EQ(json["first_broken"]["name"], sample_report().layers[6].name);
  EXPECT_EQ(json["sensitivity"]["layers"].size(), sample_report().examination.layers.size());
  EXPECT_FALSE(json["kept_float"][0]["reason"].get<std::string>().empty());
}

TEST(Json, NotMeasuredAndNotFiniteAreNull) {
  const Json parsed = Json::parse(json_text(to_json(sample_report())));
  EXPECT_TRUE(parsed["metrics"][1]["after"].is_null());
  EXPECT_TRUE(parsed["errors"][4]["own_cosine"].is_null());
}

TEST(Json, BrokenUtf8InNamesStillGivesValidJson) {
  Compression report = sample_report();
  report.layers[0].name = "\xff\xc0 name";
  EXPECT_NO_THROW(Json::parse(json_text(to_json(report))));
}

TEST(Json, ScriptSafeTextHasNoMarkupAndMeansTheSame) {
  const Json json{{"name", "</script><!--&\xe2\x80\xa8\xe2\x80\xa9"}};
  const std::string safe = script_safe_json(json);
  EXPECT_EQ(safe.find_first_of("<>&"), std::string::npos);
  EXPECT_EQ(safe.find("\xe2\x80\xa8"), std::string::npos);
  EXPECT_EQ(Json::parse(safe), json);
}

TEST(Summary, EndsWithWhatWasLostAndWhatStayedInFloat) {
  const std::string text = summary_text(sample_report(), 3);
  EXPECT_NE(text.find("3.87x"), std::string::npos) << text;
  EXPECT_NE(text.find("-0.60 points"), std::string::npos) << text;
  EXPECT_NE(text.find("14.2 dB"), std::string::npos) << text;
  EXPECT_NE(text.find("integer kernel slower"), std::string::npos) << text;
  EXPECT_NE(text.find("clipped tail at blocks.2.mlp.fc1"), std::string::npos) << text;
  EXPECT_NE(text.find("(try --set 'blocks.2.mlp.fc1:range=minmax')"), std::string::npos) << text;
}

TEST(Summary, NamesTheWorstFirstAndLeavesOutWhatIsExact) {
  const std::vector<TensorError> errors = sample_report().errors;
  const std::vector<TensorError> worst = worst_first(errors, 1000);
  EXPECT_EQ(worst.size(), errors.size() - 1);
  EXPECT_EQ(worst.front().own_sqnr_db, 14.25);
  EXPECT_NE(errors_text(errors).find("exact"), std::string::npos);
}

TEST(HtmlPage, IsOneFileThatNamesNoOtherFile) {
  const std::string page = html_page(sample_report());
  EXPECT_EQ(page.find("sourceMappingURL"), std::string::npos);
  EXPECT_EQ(page.find(" src="), page.find(" src=x"));  // only the hostile name, inside the data
  EXPECT_EQ(page.find("<link rel=\"stylesheet\""), std::string::npos);
  EXPECT_NE(page.find("MIT License"), std::string::npos);
  EXPECT_EQ(page.find("%DATA%"), std::string::npos);
}

TEST(HtmlPage, NamesCannotBecomeMarkup) {
  const std::string page = html_page(sample_report());
  EXPECT_EQ(page.find("<script>window.broken"), std::string::npos);
  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_NE(page.find("ounce: vit_&lt;b&gt;tiny"), std::string::npos);
}

TEST(HtmlPage, PlaceholdersInNamesAreLeftAlone) {
  Compression report = sample_report();
  report.model = "%DATA% %SCRIPT%";
  const std::string page = html_page(report);
  EXPECT_NE(page.find("<title>ounce: %DATA% %SCRIPT%</title>"), std::string::npos);
}

}  // namespace
}  // namespace ounce::report
