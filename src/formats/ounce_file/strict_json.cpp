#include "formats/ounce_file/strict_json.h"

#include <limits>
#include <set>
#include <utility>

#include "graph/error.h"

namespace ounce::formats {
namespace {

// Our files nest seven levels: header, values, shape, ...; the margin is for later versions.
constexpr int kMaximumDepth = 32;

[[noreturn]] void fail(const std::string& problem, const std::string& what) {
  throw Error(problem, what, "the file is damaged; write it again");
}

[[noreturn]] void fail_type(const Json& json, const char* wanted, const std::string& what) {
  fail(std::string("expected ") + wanted + ", found " + json.type_name(), what);
}

}  // namespace

Json parse_json(std::string_view text, const std::string& what) {
  std::vector<std::set<std::string, std::less<>>> keys;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaximumDepth) fail("JSON is nested too deeply", what);
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key &&
        !keys.back().insert(parsed.get_ref<const std::string&>()).second) {
      fail("the key '" + parsed.get_ref<const std::string&>() + "' appears twice", what);
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& error) {
    fail(std::string("not valid JSON: ") + error.what(), what);
  }
}

std::string dump_json(const Json& json, const std::string& what) {
  try {
    return json.dump();
  } catch (const Json::exception&) {
    throw Error("a name or text is not UTF-8", what, "rename it in the source model");
  }
}

const Json& member(const Json& object, const char* key, const std::string& what) {
  const auto found = as_object(object, what).find(key);
  if (found == object.end()) fail(std::string("'") + key + "' is missing", what);
  return *found;
}

const std::string& as_string(const Json& json, const std::string& what) {
  if (!json.is_string()) fail_type(json, "text", what);
  return json.get_ref<const std::string&>();
}

int64_t as_int(const Json& json, const std::string& what) {
  if (!json.is_number_integer()) fail_type(json, "an integer", what);
  if (json.is_number_unsigned() &&
      json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    fail("a number is too large", what);
  }
  return json.get<int64_t>();
}

const Json& as_array(const Json& json, const std::string& what) {
  if (!json.is_array()) fail_type(json, "a list", what);
  return json;
}

const Json& as_object(const Json& json, const std::string& what) {
  if (!json.is_object()) fail_type(json, "an object", what);
  return json;
}

std::vector<int64_t> as_ints(const Json& json, const std::string& what) {
  std::vector<int64_t> values;
  for (const Json& entry : as_array(json, what)) values.push_back(as_int(entry, what));
  return values;
}

Shape as_shape(const Json& json, const std::string& what) {
  Shape shape = as_ints(json, what);
  try {
    element_count(shape);
  } catch (const Error& error) {
    fail(error.message(), what);
  }
  return shape;
}

}  // namespace ounce::formats
