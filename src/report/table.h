#pragma once

#include <string>
#include <vector>

namespace ounce::report {

/// A table for terminals: padded columns, a rule under the header, no colours.
class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
    /// Longer cells are shortened in the middle, where layer names repeat themselves. 0: never.
    size_t max_width = 0;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// Missing cells are empty; cells beyond the columns are dropped. Text may come from files: it is
  /// made printable.
  void add_row(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }

  /// Lines ended by '\n'; "" for a table without rows.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ounce::report
