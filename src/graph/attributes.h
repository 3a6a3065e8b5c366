#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "graph/tensor.h"

namespace ounce {

/// One attribute value of a node, with the types ONNX has (graphs excepted).
using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>,
                               std::vector<float>, std::vector<std::string>, Tensor>;

/// The attributes of a node by name. Typed getters throw `Error` naming the attribute when it is
/// present with another type.
class AttributeMap {
 public:
  using Map = std::map<std::string, Attribute, std::less<>>;

  bool has(std::string_view name) const { return map_.find(name) != map_.end(); }
  void set(std::string name, Attribute value) { map_[std::move(name)] = std::move(value); }
  void erase(std::string_view name);

  int64_t get_int(std::string_view name, int64_t fallback) const;
  float get_float(std::string_view name, float fallback) const;
  std::string get_string(std::string_view name, std::string_view fallback) const;
  std::vector<int64_t> get_ints(std::string_view name, std::vector<int64_t> fallback = {}) const;
  std::vector<float> get_floats(std::string_view name, std::vector<float> fallback = {}) const;
  /// nullptr when absent.
  const Tensor* get_tensor(std::string_view name) const;

  const Map& entries() const { return map_; }

 private:
  template <class T>
  const T* find(std::string_view name) const;

  Map map_;
};

}  // namespace ounce
