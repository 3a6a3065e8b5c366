#pragma once

#include <gtest/gtest.h>

#include <string>

#include "graph/error.h"

namespace ounce::formats {

/// Runs `action`, which must throw `ounce::Error`; the message must contain every one of `parts`.
template <class Action>
void expect_error(Action&& action, std::initializer_list<std::string> parts) {
  try {
    action();
    ADD_FAILURE() << "no error; expected one with '" << (parts.size() > 0 ? *parts.begin() : "")
                  << "'";
  } catch (const Error& error) {
    const std::string message = error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos)
          << "'" << part << "' missing in: " << message;
    }
  }
}

}  // namespace ounce::formats
