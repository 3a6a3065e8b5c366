#pragma once

#include <optional>
#include <string>

#include "cli/search_data.h"
#include "quantize/search/search.h"
#include "report/json.h"
#include "report/report.h"

namespace ounce::cli {

/// A search as the report shows it.
report::Search search_of(const quantize::search::State& state, const quantize::search::Trial& best,
                         const quantize::search::SearchOptions& options, const SearchData& data,
                         bool complete);

/// "drop 0.80 (82.0 %), 3.10 MB, 7.90 ms: W8A8 x 30, W4A8 x 20"
std::string trial_text(const quantize::search::State& state, const quantize::search::Trial& trial);

/// For a terminal: the reference points and the front as a table, what was bought, the layers.
std::string search_text(const report::Search& search);

}  // namespace ounce::cli
