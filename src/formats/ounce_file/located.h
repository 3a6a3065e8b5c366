#pragma once

#include <string>

#include "graph/error.h"

namespace ounce::formats {

/// Runs `action`; an `Error` from it gets `place` (a file, a node) in front of where it already
/// says it happened.
template <class Action>
auto located(const std::string& place, Action&& action) {
  try {
    return action();
  } catch (const Error& error) {
    const std::string where = error.where().empty() ? place : place + ": " + error.where();
    throw Error(error.message(), where, error.remedy());
  }
}

}  // namespace ounce::formats
