#include "models/models.h"

#include <array>

#include "models/adabin.h"

namespace ounce::models {
namespace {

Graph deit_s(uint64_t seed) {
  return vit("deit_s", {}, seed);
}
Graph deit_t(uint64_t seed) {
  return vit("deit_t", {.width = 192, .heads = 3}, seed);
}

/// ResNet-20 and -56 for CIFAR as the paper has them, shortcuts without weights.
Graph resnet20_cifar(uint64_t seed) {
  return cifar_resnet("resnet20_cifar", {.padded_shortcuts = true}, seed);
}
Graph resnet56_cifar(uint64_t seed) {
  return cifar_resnet("resnet56_cifar", {.blocks = 9, .padded_shortcuts = true}, seed);
}

Graph deit_s_binary(uint64_t seed) {
  return vit("deit_s_binary", {.binary = true}, seed);
}
Graph deit_t_binary(uint64_t seed) {
  return vit("deit_t_binary", {.width = 192, .heads = 3, .binary = true}, seed);
}

Graph swin_t(uint64_t seed) {
  return swin("swin_t", {}, seed);
}

constexpr std::array<Architecture, 14> kArchitectures = {{
    {"resnet18", resnet18},
    {"resnet18_binary", resnet18_binary},
    {"resnet20_cifar", resnet20_cifar},
    {"resnet56_cifar", resnet56_cifar},
    {"mobilenet_v2", mobilenet_v2},
    {"deit_s", deit_s},
    {"deit_t", deit_t},
    {"swin_t", swin_t},
    {"imdn", imdn},
    {"rfdn", rfdn},
    {"imdtn", imdtn},
    {"mobilesr", mobilesr, "net."},
    {"deit_s_binary", deit_s_binary},
    {"deit_t_binary", deit_t_binary},
}};

constexpr std::array<CheckpointArchitecture, 1> kCheckpointArchitectures = {{
    {"resnet20_adabin", adabin_resnet20},
}};

}  // namespace

std::span<const CheckpointArchitecture> checkpoint_architectures() {
  return kCheckpointArchitectures;
}

std::span<const Architecture> architectures() {
  return kArchitectures;
}

}  // namespace ounce::models
