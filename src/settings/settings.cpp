#include "settings/settings.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

namespace ounce {
namespace {

// No settings nest deeper; hostile text must not exhaust the stack.
constexpr int kMaxDepth = 8;

/// Where a converted value goes: under a key of a table, or at the end of an array.
struct Place {
  toml::table* table = nullptr;
  std::string key;
  toml::array* array = nullptr;

  template <class T>
  void put(T&& value) const {
    if (table != nullptr) {
      table->insert_or_assign(key, std::forward<T>(value));
    } else {
      array->push_back(std::forward<T>(value));
    }
  }
};

/// Puts the TOML twin of a JSON value at `place`.
void convert_json(const nlohmann::json& value, const std::string& file, int depth,
                  const Place& place) {
  if (depth > kMaxDepth) throw Error("JSON nested too deeply", file);
  if (value.is_object()) {
    toml::table table;
    for (const auto& [key, member] : value.items()) {
      convert_json(member, file, depth + 1, {&table, key, nullptr});
    }
    place.put(std::move(table));
  } else if (value.is_array()) {
    toml::array array;
    for (const nlohmann::json& element : value) {
      convert_json(element, file, depth + 1, {nullptr, "", &array});
    }
    place.put(std::move(array));
  } else if (value.is_string()) {
    place.put(value.get<std::string>());
  } else if (value.is_boolean()) {
    place.put(value.get<bool>());
  } else if (value.is_number_integer()) {
    place.put(value.get<int64_t>());
  } else if (value.is_number_float()) {
    place.put(value.get<double>());
  } else {
    throw Error("JSON null has no meaning here", file);
  }
}

}  // namespace

Settings::Settings(const toml::table& table, std::string file, std::string section)
    : table_(&table), file_(std::move(file)), section_(std::move(section)) {}

const toml::node* Settings::find(const std::string& key) {
  asked_.insert(key);
  return table_->get(key);
}

const toml::array* Settings::find_array(const std::string& key) {
  const toml::node* node = find(key);
  if (node == nullptr) return nullptr;
  if (!node->is_array()) throw error(key, "must be a list");
  return node->as_array();
}

Error Settings::error(const std::string& key, const std::string& message,
                      const std::string& remedy) const {
  std::string where = file_;
  const toml::node* node = table_->get(key);
  const toml::source_index line = (node != nullptr ? node->source() : table_->source()).begin.line;
  if (line > 0) where += ":" + std::to_string(line);
  const std::string name = section_.empty() ? key : section_ + "." + key;
  return Error("'" + name + "' " + message, where, remedy);
}

bool Settings::has(const std::string& key) {
  return find(key) != nullptr;
}

bool Settings::is_text(const std::string& key) {
  const toml::node* node = find(key);
  return node != nullptr && node->is_string();
}

bool Settings::is_integer(const std::string& key) {
  const toml::node* node = find(key);
  return node != nullptr && node->is_integer();
}

std::optional<int64_t> Settings::integer(const std::string& key, int64_t low, int64_t high) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  const std::optional<int64_t> value = node->value_exact<int64_t>();
  if (!value || *value < low || *value > high) {
    throw error(
        key, "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

std::optional<double> Settings::number(const std::string& key, double low, double high) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  const std::optional<double> value = node->is_number() ? node->value<double>() : std::nullopt;
  if (!value || !(*value >= low && *value <= high)) {
    std::ostringstream message;
    message << "must be a number from " << low << " to " << high;
    throw error(key, message.str());
  }
  return value;
}

std::optional<bool> Settings::flag(const std::string& key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (!node->is_boolean()) throw error(key, "must be true or false");
  return node->value_exact<bool>();
}

std::optional<std::string> Settings::text(const std::string& key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (!node->is_string()) throw error(key, "must be a text");
  return node->value_exact<std::string>();
}

std::optional<size_t> Settings::choice(const std::string& key,
                                       const std::vector<std::string>& words) {
  const std::optional<std::string> word = text(key);
  if (!word) return std::nullopt;
  std::string known;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == *word) return i;
    known += (i == 0 ? "" : ", ") + words[i];
  }
  throw error(key, "is '" + *word + "', which is not known", known);
}

std::optional<std::vector<double>> Settings::numbers(const std::string& key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (node->is_number()) return std::vector<double>{*node->value<double>()};
  std::vector<double> values;
  for (const toml::node& element : *find_array(key)) {
    const std::optional<double> value =
        element.is_number() ? element.value<double>() : std::nullopt;
    if (!value || !std::isfinite(*value)) throw error(key, "must be a list of finite numbers");
    values.push_back(*value);
  }
  return values;
}

std::optional<std::vector<int64_t>> Settings::integers(const std::string& key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (node->is_integer()) return std::vector<int64_t>{*node->value<int64_t>()};
  std::vector<int64_t> values;
  for (const toml::node& element : *find_array(key)) {
    if (!element.is_integer()) throw error(key, "must be a list of whole numbers");
    values.push_back(*element.value<int64_t>());
  }
  return values;
}

std::optional<std::vector<std::string>> Settings::texts(const std::string& key) {
  const toml::array* array = find_array(key);
  if (array == nullptr) return std::nullopt;
  std::vector<std::string> values;
  for (const toml::node& element : *array) {
    if (!element.is_string()) throw error(key, "must be a list of texts");
    values.push_back(*element.value<std::string>());
  }
  return values;
}

std::optional<std::vector<std::vector<double>>> Settings::rows(const std::string& key) {
  const toml::array* array = find_array(key);
  if (array == nullptr) return std::nullopt;
  std::vector<std::vector<double>> values;
  for (const toml::node& row : *array) {
    if (!row.is_array()) throw error(key, "must be a list of lists of numbers");
    std::vector<double>& target = values.emplace_back();
    for (const toml::node& element : *row.as_array()) {
      const std::optional<double> value =
          element.is_number() ? element.value<double>() : std::nullopt;
      if (!value || !std::isfinite(*value)) throw error(key, "must hold finite numbers");
      target.push_back(*value);
    }
  }
  return values;
}

std::optional<Settings> Settings::section(const std::string& key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (!node->is_table()) throw error(key, "must be a table", "[" + key + "]");
  return Settings(*node->as_table(), file_, key);
}

std::vector<Settings> Settings::sections(const std::string& key) {
  const toml::array* array = find_array(key);
  std::vector<Settings> found;
  if (array == nullptr) return found;
  for (const toml::node& element : *array) {
    if (!element.is_table()) throw error(key, "must be tables", "[[" + key + "]]");
    found.emplace_back(*element.as_table(), file_, key);
  }
  return found;
}

void Settings::finish() const {
  for (const auto& [key, node] : *table_) {
    const std::string name(key.str());
    if (asked_.contains(name)) continue;
    std::string known;
    for (const std::string& other : asked_) known += (known.empty() ? "" : ", ") + other;
    throw error(name, "is not a known key", known);
  }
}

toml::table parse_toml(const std::string& text, const std::string& file) {
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& failure) {
    const auto line = failure.source().begin.line;
    throw Error(std::string(failure.description()), file + ":" + std::to_string(line),
                "correcting the TOML");
  }
}

toml::table parse_json(const std::string& text, const std::string& file) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) throw Error("is not a JSON object", file);
  toml::table table;
  for (const auto& [key, member] : json.items()) {
    convert_json(member, file, 1, {&table, key, nullptr});
  }
  return table;
}

}  // namespace ounce
