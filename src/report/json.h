#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "report/report.h"

namespace ounce::report {

/// Keys keep the order in which they were written, so that files compare line by line.
using Json = nlohmann::ordered_json;

/// The report as JSON. The keys `files`, `float_bytes`, `bytes`, `kept_float` (with `name` and
/// `reason`) are a contract; numbers that were not measured are null.
Json to_json(const Compression& report);
Json to_json(const Provenance& provenance);
Json to_json(const std::vector<TensorError>& errors);
Json to_json(const Layer& layer);
/// Adds the keys `first_broken`, `diagnoses` and `sensitivity`.
void add_json(Json& json, const Examination& examination);

/// Text that is valid JSON whatever bytes the names hold (broken UTF-8 is replaced).
std::string json_text(const Json& json, int indent = 2);

/// JSON that may stand inside a <script> element: no '<', '>', '&' or line separator is left bare.
std::string script_safe_json(const Json& json);

}  // namespace ounce::report
