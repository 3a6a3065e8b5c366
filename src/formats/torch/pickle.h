#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace ounce::formats {

struct PickleList;
struct PickleDict;
struct PickleGlobal;
struct PickleCall;
struct PicklePersistent;

/// A value of a pickle. Texts lie in the bytes it was read from, containers in its `Pickle`: values
/// are small whatever they stand for, and a container may hold itself.
using PickleValue = std::variant<std::monostate, bool, int64_t, double, std::string_view,
                                 const PickleList*, const PickleDict*, const PickleGlobal*,
                                 const PickleCall*, const PicklePersistent*>;

/// A list or tuple.
struct PickleList {
  std::vector<PickleValue> items;
};
/// In the order of the file; keys may repeat.
struct PickleDict {
  std::vector<std::pair<PickleValue, PickleValue>> items;
};
/// A name: module "torch._utils", name "_rebuild_tensor_v2".
struct PickleGlobal {
  std::string_view module;
  std::string_view name;

  bool is(std::string_view wanted_module, std::string_view wanted_name) const {
    return module == wanted_module && name == wanted_name;
  }
};
/// `callee(arguments...)`, and the items and state that were set on the result.
struct PickleCall {
  const PickleGlobal* callee = nullptr;
  const PickleList* arguments = nullptr;
  PickleDict items;
  PickleValue state;
};
/// A reference to something outside of the pickle: a storage.
struct PicklePersistent {
  PickleValue id;
};

/// What a pickle holds. Nothing is executed: functions are names, calls are names and arguments,
/// and who reads them decides which are known.
struct Pickle {
  PickleValue root;
  std::deque<PickleList> lists;
  std::deque<PickleDict> dicts;
  std::deque<PickleGlobal> globals;
  std::deque<PickleCall> calls;
  std::deque<PicklePersistent> persistents;
};

/// Reads one pickle (protocols 2 to 4) from the front of `bytes`, which then begins behind it; what
/// it was read from must outlive the result. Throws `Error` with the byte for instructions that are
/// unknown or do not fit the stack, and for data that end early.
Pickle read_pickle(std::span<const std::byte>& bytes);

}  // namespace ounce::formats
