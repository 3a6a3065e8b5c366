#include "report/table.h"

#include <algorithm>

#include "report/format.h"

namespace ounce::report {
namespace {

/// Characters of well-formed UTF-8 (what `printable` returns); wide glyphs count as one.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

/// Byte position of character `index`.
size_t position_of(const std::string& text, size_t index) {
  size_t seen = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (seen++ == index) return i;
  }
  return text.size();
}

std::string shortened(const std::string& text, size_t max_width) {
  const size_t width = width_of(text);
  if (max_width < 5 || width <= max_width) return text;
  const size_t head = (max_width - 2) / 2;
  const size_t tail = max_width - 2 - head;
  return text.substr(0, position_of(text, head)) + ".." +
         text.substr(position_of(text, width - tail));
}

}  // namespace

void Table::add_row(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (size_t i = 0; i < cells.size(); ++i) {
    cells[i] = shortened(printable(cells[i]), columns_[i].max_width);
  }
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  if (rows_.empty()) return {};
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = width_of(columns_[i].title);
    for (const auto& row : rows_) width = std::max(width, width_of(row[i]));
    widths.push_back(width);
  }
  std::string out;
  const auto append_line = [&](const auto& cell_of) {
    std::string line;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const std::string& cell = cell_of(i);
      const std::string padding(widths[i] - width_of(cell), ' ');
      if (i > 0) line += "  ";
      line += columns_[i].align == Align::right ? padding + cell : cell + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  };
  append_line([&](size_t i) -> const std::string& { return columns_[i].title; });
  size_t total = 2 * (columns_.size() - 1);
  for (size_t width : widths) total += width;
  out += std::string(total, '-') + '\n';
  for (const auto& row : rows_) {
    append_line([&](size_t i) -> const std::string& { return row[i]; });
  }
  return out;
}

}  // namespace ounce::report
