#include "engine/isa.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "engine/kernels/dispatch.h"
#include "graph/error.h"
#include "hwy/highway.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace ounce::engine {
namespace {

struct Level {
  Isa isa;
  std::string_view name;
  int64_t target;  // Highway's bit for it
};

constexpr Level kLevels[] = {
    {Isa::kPortable, "portable", HWY_SCALAR}, {Isa::kNeon, "neon", HWY_NEON},
    {Isa::kNeonDot, "neondot", HWY_NEON},     {Isa::kAvx2, "avx2", HWY_AVX2},
    {Isa::kAvx512, "avx512", HWY_AVX3},       {Isa::kAvx512Vnni, "avx512vnni", HWY_AVX3_DL},
};

const Level& level_of(Isa isa) {
  return kLevels[static_cast<int>(isa)];
}

bool processor_has(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return true;
#if defined(__aarch64__)
    case Isa::kNeon:
      return true;  // part of the architecture
    case Isa::kNeonDot:
      return (getauxval(AT_HWCAP) & (1UL << 20)) != 0;  // HWCAP_ASIMDDP
#elif defined(__x86_64__)
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("bmi");
    case Isa::kAvx512:
      return processor_has(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case Isa::kAvx512Vnni:
      return processor_has(Isa::kAvx512) && __builtin_cpu_supports("avx512vnni") &&
             __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
             __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq");
#endif
    default:
      return false;
  }
}

// Highway's tables start with one reserved entry, then hold one entry a target from the best down,
// and end with the scalar one (hwy/targets.h).
int table_index(int64_t target) {
  if (target == HWY_SCALAR) return HWY_MAX_DYNAMIC_TARGETS + 1;
  const int shift = HWY_HIGHEST_TARGET_BIT + 1 - HWY_MAX_DYNAMIC_TARGETS;
  int index = 1;
  while ((target >> shift >> (index - 1)) != 1) ++index;
  return index;
}

// Level and table index in one word, so that a reader never sees a mixture; 0 before the first use.
std::atomic<int> g_choice{0};

void choose(Isa isa) {
  g_choice.store((static_cast<int>(isa) << 8) | table_index(level_of(isa).target));
}

std::string list_of_names() {
  std::string names;
  for (const Isa isa : available_isas()) {
    if (!names.empty()) names += ", ";
    names += isa_name(isa);
  }
  return names;
}

int first_choice() {
  const std::vector<Isa> available = available_isas();
  const char* wanted = std::getenv("OUNCE_ISA");
  if (wanted == nullptr || *wanted == '\0') {
    choose(available.back());
    return g_choice.load();
  }
  for (const Isa isa : available) {
    if (isa_name(isa) == wanted) {
      choose(isa);
      return g_choice.load();
    }
  }
  throw Error("'" + std::string(wanted) + "' is no instruction set of this build and processor",
              "environment variable OUNCE_ISA", list_of_names());
}

int choice() {
  const int chosen = g_choice.load(std::memory_order_relaxed);
  return chosen != 0 ? chosen : first_choice();
}

}  // namespace

std::string_view isa_name(Isa isa) {
  return level_of(isa).name;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> available;
  for (const Level& level : kLevels) {
    if (processor_has(level.isa)) available.push_back(level.isa);
  }
  return available;
}

Isa current_isa() {
  return static_cast<Isa>(choice() >> 8);
}

void select_isa(Isa isa) {
  if (!processor_has(isa)) {
    throw Error("'" + std::string(isa_name(isa)) + "' is not available here", "select_isa",
                list_of_names());
  }
  choose(isa);
}

int dispatch_index() {
  return choice() & 0xFF;
}

}  // namespace ounce::engine
