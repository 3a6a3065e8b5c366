#include "report/html.h"

#include <string_view>
#include <utility>
#include <vector>

#include "report/format.h"
#include "report/json.h"
#include "report/page_assets.h"

namespace ounce::report {
namespace {

/// Fills the placeholders of the template in one pass, so that inserted text is never searched.
std::string filled(std::string_view page,
                   const std::vector<std::pair<std::string_view, std::string_view>>& values) {
  std::string out;
  while (!page.empty()) {
    size_t nearest = std::string_view::npos;
    const std::pair<std::string_view, std::string_view>* found = nullptr;
    for (const auto& value : values) {
      const size_t at = page.find(value.first);
      if (at < nearest) {
        nearest = at;
        found = &value;
      }
    }
    if (found == nullptr) break;
    out += page.substr(0, nearest);
    out += found->second;
    page.remove_prefix(nearest + found->first.size());
  }
  out += page;
  return out;
}

}  // namespace

std::string html_page(const Compression& report) {
  Json json = to_json(report);
  // On the page alone: programs that read the JSON find the pictures in their folder.
  if (!report.contact_sheet.empty()) json["contact_sheet"] = report.contact_sheet;
  const std::string data = script_safe_json(json);
  const std::string title = html_escaped(printable(report.model));
  return filled(page_assets::template_html(), {{"%TITLE%", title},
                                               {"%STYLE%", page_assets::style()},
                                               {"%LICENSES%", page_assets::licenses()},
                                               {"%CHARTS%", page_assets::charts()},
                                               {"%SCRIPT%", page_assets::script()},
                                               {"%DATA%", data}});
}

}  // namespace ounce::report
