#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "graph/tensor.h"

namespace ounce::formats {

using Json = nlohmann::json;

/// Parses text of a file: malformed JSON, a key that appears twice in one object and nesting deeper
/// than any file of ours are an `Error`, which names `what`.
Json parse_json(std::string_view text, const std::string& what);

/// One line of JSON, keys sorted. Throws `Error` when a string is not UTF-8.
std::string dump_json(const Json& json, const std::string& what);

/// Accessors that throw `Error`, naming `what`, when the type is another than expected.
const Json& member(const Json& object, const char* key, const std::string& what);
const std::string& as_string(const Json& json, const std::string& what);
int64_t as_int(const Json& json, const std::string& what);
const Json& as_array(const Json& json, const std::string& what);
const Json& as_object(const Json& json, const std::string& what);
std::vector<int64_t> as_ints(const Json& json, const std::string& what);
/// A list of dimensions, none negative, whose product fits.
Shape as_shape(const Json& json, const std::string& what);

}  // namespace ounce::formats
