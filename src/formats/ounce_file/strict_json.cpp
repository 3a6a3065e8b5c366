#include "formats/ounce_file/strict_json.h"

#include <limits>
#include <utility>

#include "graph/error.h"

namespace ounce::formats {
namespace {

// Our files nest seven levels: header, values, shape, ...; the margin is for later versions.
constexpr size_t kMaximumDepth = 32;

[[noreturn]] void fail(const std::string& problem, const std::string& what) {
  throw Error(problem, what, "the file is damaged; write it again");
}

[[noreturn]] void fail_type(const Json& json, const char* wanted, const std::string& what) {
  fail(std::string("expected ") + wanted + ", found " + json.type_name(), what);
}

/// Builds the value of a text in one pass. (The library's own hook for such checks revisits the
/// whole parent at the end of every object, which is quadratic in the number of tensors.)
class StrictBuilder : public Json::json_sax_t {
 public:
  explicit StrictBuilder(const std::string& what) : what_(what) {}

  Json take() { return std::move(root_); }

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    auto& object = open_.back()->get_ref<Json::object_t&>();
    const auto [place, is_new] = object.emplace(std::move(name), nullptr);
    if (!is_new) fail("the key '" + place->first + "' appears twice", what_);
    member_ = &place->second;
    return true;
  }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }  // only in binary encodings
  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    fail("not valid JSON at character " + std::to_string(position), what_);
  }

 private:
  /// Puts a value where the text has it; returns where that is.
  Json* place(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) return &(*member_ = std::move(value));
    return &open_.back()->get_ref<Json::array_t&>().emplace_back(std::move(value));
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json empty) {
    if (open_.size() >= kMaximumDepth) fail("JSON is nested too deeply", what_);
    open_.push_back(place(std::move(empty)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& what_;
  Json root_;
  std::vector<Json*> open_;  // the objects and lists around the current position
  Json* member_ = nullptr;   // where the value of the last key goes
};

}  // namespace

Json parse_json(std::string_view text, const std::string& what) {
  StrictBuilder builder(what);
  if (!Json::sax_parse(text, &builder)) fail("not valid JSON", what);
  return builder.take();
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
