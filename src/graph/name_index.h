#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ounce {

/// Finds items of a vector by their `name` without a scan. The vector stays open to everybody: the
/// index follows what is appended, and starts over when it sees that the vector was replaced,
/// shortened or shifted. What it cannot see is a name changed in place: change it by `rename`.
/// Copies start empty, so that copying what holds an index stays cheap; lookups from several
/// threads are safe.
class NameIndex {
 public:
  NameIndex() = default;
  NameIndex(const NameIndex&) {}
  NameIndex& operator=(const NameIndex& other) {
    if (this == &other) return *this;
    const std::lock_guard lock(mutex_);
    clear();
    return *this;
  }

  /// Position of the first item with this name, or -1.
  template <class Item>
  int find(const std::vector<Item>& items, std::string_view name) {
    const std::lock_guard lock(mutex_);
    follow(items);
    auto found = positions_.find(name);
    if (found != positions_.end() && items[static_cast<size_t>(found->second)].name != name) {
      rebuild(items);
      found = positions_.find(name);
    }
    return found == positions_.end() ? -1 : found->second;
  }

  template <class Item>
  void rename(std::vector<Item>& items, size_t position, std::string name) {
    const std::lock_guard lock(mutex_);
    follow(items);
    std::string& field = items[position].name;
    const auto old = positions_.find(field);
    if (old != positions_.end() && old->second == static_cast<int>(position)) positions_.erase(old);
    positions_.emplace(name, static_cast<int>(position));
    if (position + 1 == count_) last_ = name;
    field = std::move(name);
  }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  void clear() {
    positions_.clear();
    last_.clear();
    data_ = nullptr;
    count_ = 0;
  }

  template <class Item>
  void follow(const std::vector<Item>& items) {
    const bool same = items.data() == data_ && items.size() >= count_ &&
                      (count_ == 0 || items[count_ - 1].name == last_);
    if (!same) clear();
    for (size_t i = count_; i < items.size(); ++i) {
      positions_.emplace(items[i].name, static_cast<int>(i));
    }
    if (items.size() == count_) return;
    data_ = items.data();
    count_ = items.size();
    last_ = items.back().name;
  }

  template <class Item>
  void rebuild(const std::vector<Item>& items) {
    clear();
    follow(items);
  }

  std::mutex mutex_;
  std::unordered_map<std::string, int, Hash, std::equal_to<>> positions_;
  // What the vector looked like: a growing vector moves a logarithmic number of times.
  const void* data_ = nullptr;
  size_t count_ = 0;
  std::string last_;
};

}  // namespace ounce
