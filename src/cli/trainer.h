#pragma once

#include <string>
#include <vector>

namespace ounce::cli {

/// Hands a command over to ounce-train, a program of its own beside this one: its library is slow
/// to load, which commands that learn nothing should not wait for. Returns only by an `Error`: the
/// program is not there.
int run_trainer(const std::vector<std::string>& command);

}  // namespace ounce::cli
