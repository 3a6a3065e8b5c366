#include "models/models.h"

#include <array>

namespace ounce::models {
namespace {

Graph deit_s(uint64_t seed) {
  return vit("deit_s", {}, seed);
}
Graph deit_t(uint64_t seed) {
  return vit("deit_t", {.width = 192, .heads = 3}, seed);
}

constexpr std::array<Architecture, 4> kArchitectures = {{
    {"resnet18", resnet18},
    {"mobilenet_v2", mobilenet_v2},
    {"deit_s", deit_s},
    {"deit_t", deit_t},
}};

}  // namespace

std::span<const Architecture> architectures() {
  return kArchitectures;
}

}  // namespace ounce::models
