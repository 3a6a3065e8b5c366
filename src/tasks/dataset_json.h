#pragma once

// Internal to tasks/: annotations in JSON, which may hold anything.
#include <array>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "graph/error.h"
#include "tasks/box.h"

namespace ounce::tasks {

/// Checked access to the members of a JSON list element; errors name the file, list and element.
class Element {
 public:
  Element(const nlohmann::json& value, std::string where)
      : value_(value), where_(std::move(where)) {
    if (!value.is_object()) throw Error("is not an object", where_);
  }

  int64_t integer(const char* key) const {
    const nlohmann::json& member = get(key);
    // Identifiers written by careless tools come as 7.0.
    if (member.is_number_integer()) return member.get<int64_t>();
    const double value = number(key);
    if (std::abs(value) > 9e15 || value != std::floor(value)) {
      throw Error(std::string("'") + key + "' is not a whole number", where_);
    }
    return static_cast<int64_t>(value);
  }
  double number(const char* key) const {
    const nlohmann::json& member = get(key);
    if (!member.is_number()) throw Error(std::string("'") + key + "' is not a number", where_);
    return member.get<double>();
  }
  std::string text(const char* key) const {
    const nlohmann::json& member = get(key);
    if (!member.is_string()) throw Error(std::string("'") + key + "' is not a text", where_);
    return member.get<std::string>();
  }
  bool has(const char* key) const { return value_.contains(key) && !value_.at(key).is_null(); }
  const std::string& where() const { return where_; }
  const nlohmann::json& value() const { return value_; }

  /// COCO's [left, top, width, height].
  Box box() const {
    const nlohmann::json& member = get("bbox");
    if (!member.is_array() || member.size() != 4) throw Error("'bbox' is not four numbers", where_);
    std::array<double, 4> sides{};
    for (size_t i = 0; i < 4; ++i) {
      if (!member[i].is_number()) throw Error("'bbox' is not four numbers", where_);
      sides[i] = member[i].get<double>();
      if (!(std::abs(sides[i]) < 1e9)) throw Error("'bbox' is out of range", where_);
    }
    if (sides[2] < 0 || sides[3] < 0) throw Error("'bbox' has a negative size", where_);
    return {sides[0], sides[1], sides[0] + sides[2], sides[1] + sides[3]};
  }

 private:
  const nlohmann::json& get(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end()) throw Error(std::string("'") + key + "' is missing", where_);
    return *found;
  }

  const nlohmann::json& value_;
  std::string where_;
};

/// Calls `visit` with every element of the list `key` of `root`, an object at `where`. Throws
/// `Error` with `remedy` where there is no such list.
template <class Visit>
void each(const nlohmann::json& root, const char* key, const std::string& where,
          const std::string& remedy, const Visit& visit) {
  const auto list = root.find(key);
  if (list == root.end() || !list->is_array()) {
    throw Error(std::string("has no list '") + key + "'", where, remedy);
  }
  for (size_t i = 0; i < list->size(); ++i) {
    visit(Element((*list)[i], where + ", " + key + "[" + std::to_string(i) + "]"));
  }
}

}  // namespace ounce::tasks
