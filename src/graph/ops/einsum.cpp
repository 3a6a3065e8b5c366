#include "graph/ops/einsum.h"

#include <algorithm>
#include <map>

#include "graph/error.h"

namespace ounce::ops {
namespace {

bool is_label(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

[[noreturn]] void fail(std::string_view equation, const std::string& why) {
  throw Error("Einsum equation '" + std::string(equation) + "' " + why);
}

/// One operand's labels with "..." shortened to '.'.
std::string parse_term(std::string_view term, std::string_view equation) {
  std::string labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (is_label(term[i])) {
      labels += term[i];
    } else if (term.substr(i, 3) == "...") {
      if (labels.find('.') != std::string::npos) fail(equation, "has two ellipses in one term");
      labels += '.';
      i += 2;
    } else {
      fail(equation, "holds an unexpected character");
    }
  }
  return labels;
}

std::string implicit_output(const std::vector<std::string>& inputs) {
  std::map<char, int> uses;  // ordered by label
  for (const std::string& term : inputs) {
    for (const char label : term) ++uses[label];
  }
  std::string output = uses.count('.') != 0 ? "." : "";
  for (const auto& [label, count] : uses) {
    if (label != '.' && count == 1) output += label;
  }
  return output;
}

}  // namespace

Einsum parse_einsum(std::string_view equation) {
  std::string text(equation);
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  const size_t arrow = text.find("->");
  const std::string_view left = std::string_view(text).substr(0, arrow);
  Einsum einsum;
  size_t begin = 0;
  while (true) {
    const size_t comma = left.find(',', begin);
    einsum.inputs.push_back(parse_term(left.substr(begin, comma - begin), equation));
    if (comma == std::string_view::npos) break;
    begin = comma + 1;
  }
  if (arrow == std::string::npos) {
    einsum.output = implicit_output(einsum.inputs);
    return einsum;
  }
  einsum.output = parse_term(std::string_view(text).substr(arrow + 2), equation);
  for (size_t i = 0; i < einsum.output.size(); ++i) {
    const char label = einsum.output[i];
    if (einsum.output.find(label, i + 1) != std::string::npos)
      fail(equation, "repeats a result label");
    const bool known =
        std::any_of(einsum.inputs.begin(), einsum.inputs.end(),
                    [&](const auto& term) { return term.find(label) != std::string::npos; });
    if (!known && label != '.') fail(equation, "has a result label that no operand has");
  }
  return einsum;
}

}  // namespace ounce::ops
