#pragma once

#include <string_view>

/// The parts of the report page. Their definitions are generated at build time from web/ and the
/// installed npm packages (cmake/report_page.cmake).
namespace ounce::report::page_assets {

std::string_view template_html();
std::string_view style();
std::string_view script();
std::string_view charts();    // the charts library, minified
std::string_view licenses();  // of the embedded libraries

}  // namespace ounce::report::page_assets
