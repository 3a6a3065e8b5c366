#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace ounce {

/// The one exception type of the libraries: what went wrong, where, and what to try.
///
/// `what()` is a single line, ready to be printed by a tool: "where: message (try: remedy)".
class Error : public std::runtime_error {
 public:
  /// `where` names the file, node, tensor or byte; `remedy` tells what the user can do; both may be
  /// empty.
  explicit Error(std::string message, std::string where = {}, std::string remedy = {})
      : std::runtime_error(format(message, where, remedy)),
        message_(std::move(message)),
        where_(std::move(where)),
        remedy_(std::move(remedy)) {}

  const std::string& message() const { return message_; }
  const std::string& where() const { return where_; }
  const std::string& remedy() const { return remedy_; }

 private:
  static std::string format(const std::string& message, const std::string& where,
                            const std::string& remedy) {
    std::string line = where.empty() ? message : where + ": " + message;
    if (!remedy.empty()) line += " (try: " + remedy + ")";
    // Names come from files: a line break inside one must not fake a second message.
    for (char& c : line) {
      if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    return line;
  }

  std::string message_;
  std::string where_;
  std::string remedy_;
};

}  // namespace ounce
