#pragma once

#include <toml++/toml.h>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "graph/error.h"

namespace ounce {

/// Reads the keys of one table and knows where each stands: every error names file, line and key.
/// A key that was never asked for is an error at `finish`, so that a typing mistake is not ignored.
class Settings {
 public:
  /// `section` is the name of the table, empty for the file's root.
  Settings(const toml::table& table, std::string file, std::string section);

  bool has(const std::string& key);
  std::optional<int64_t> integer(const std::string& key, int64_t low, int64_t high);
  std::optional<double> number(const std::string& key, double low, double high);
  std::optional<bool> flag(const std::string& key);
  std::optional<std::string> text(const std::string& key);
  /// One of `words`; the index of the one found.
  std::optional<size_t> choice(const std::string& key, const std::vector<std::string>& words);
  std::optional<std::vector<double>> numbers(const std::string& key);
  std::optional<std::vector<int64_t>> integers(const std::string& key);
  std::optional<std::vector<std::string>> texts(const std::string& key);
  /// Rows of numbers, as anchors are written.
  std::optional<std::vector<std::vector<double>>> rows(const std::string& key);
  std::optional<Settings> section(const std::string& key);
  /// The tables of `[[key]]`, in order; empty where there is none.
  std::vector<Settings> sections(const std::string& key);
  bool is_text(const std::string& key);
  bool is_integer(const std::string& key);

  /// An error about `key`, with its line.
  Error error(const std::string& key, const std::string& message,
              const std::string& remedy = {}) const;

  /// Throws for the first key that nobody asked for.
  void finish() const;

 private:
  const toml::node* find(const std::string& key);
  const toml::array* find_array(const std::string& key);

  const toml::table* table_;
  std::string file_;
  std::string section_;
  std::set<std::string> asked_;
};

/// Parses TOML or JSON text; `file` appears in errors. Throws `Error` with the line.
toml::table parse_toml(const std::string& text, const std::string& file);
toml::table parse_json(const std::string& text, const std::string& file);

}  // namespace ounce
