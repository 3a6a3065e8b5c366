#include "graph/attributes.h"

#include "graph/error.h"

namespace ounce {

void AttributeMap::erase(std::string_view name) {
  if (const auto found = map_.find(name); found != map_.end()) map_.erase(found);
}

template <class T>
const T* AttributeMap::find(std::string_view name) const {
  const auto found = map_.find(name);
  if (found == map_.end()) return nullptr;
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) throw Error("attribute '" + std::string(name) + "' has the wrong type");
  return value;
}

int64_t AttributeMap::get_int(std::string_view name, int64_t fallback) const {
  const auto* value = find<int64_t>(name);
  return value != nullptr ? *value : fallback;
}

float AttributeMap::get_float(std::string_view name, float fallback) const {
  const auto* value = find<float>(name);
  return value != nullptr ? *value : fallback;
}

std::string AttributeMap::get_string(std::string_view name, std::string_view fallback) const {
  const auto* value = find<std::string>(name);
  return value != nullptr ? *value : std::string(fallback);
}

std::vector<int64_t> AttributeMap::get_ints(std::string_view name,
                                            std::vector<int64_t> fallback) const {
  const auto* value = find<std::vector<int64_t>>(name);
  if (value != nullptr) return *value;
  return fallback;
}

std::vector<float> AttributeMap::get_floats(std::string_view name,
                                            std::vector<float> fallback) const {
  const auto* value = find<std::vector<float>>(name);
  if (value != nullptr) return *value;
  return fallback;
}

const Tensor* AttributeMap::get_tensor(std::string_view name) const {
  return find<Tensor>(name);
}

}  // namespace ounce
