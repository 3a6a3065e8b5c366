#pragma once

#include <array>
#include <cstddef>

// Include before hwy/foreach_target.h. Chooses the Highway targets that kernels are compiled for
// and replaces Highway's run-time choice by ours: the same tables, indexed by the level of
// engine/isa.h. That keeps Highway header-only here, and lets Arm cores without AES use NEON.

// A file need not have a version of its own for every level. Where it gains little from what
// avx512vnni adds to avx512 it defines OUNCE_AVX512VNNI_IS_AVX512 before its first include, and
// where it gains little from avx512 without VNNI, OUNCE_AVX512_IS_AVX2: those levels then run the
// next weaker version.
#ifndef OUNCE_AVX512VNNI_IS_AVX512
#define HWY_WANT_AVX3_DL 1
#endif
#define HWY_COMPILE_ALL_ATTAINABLE 1
#ifndef HWY_BROKEN_EMU128
#define HWY_BROKEN_EMU128 1  // the portable level is HWY_SCALAR with every compiler
#endif
#if defined(__x86_64__)
#ifdef OUNCE_AVX512_IS_AVX2
#define HWY_DISABLED_TARGETS ((1LL << 8) | (1LL << 11) | (1LL << 12))  // AVX3, SSE4, SSSE3
#else
#define HWY_DISABLED_TARGETS ((1LL << 11) | (1LL << 12))  // SSE4, SSSE3
#endif
#elif defined(__aarch64__)
#define HWY_DISABLED_TARGETS ((1LL << 24) | (1LL << 25) | (1LL << 26) | (1LL << 27))  // SVE
#endif

namespace ounce::engine {

// Index into a Highway target table for current_isa(); see isa.cpp.
int dispatch_index();

// Tables go from the strongest level down. A level without a version of its own takes the next
// weaker one's.
template <class Function, size_t kCount>
constexpr std::array<Function, kCount> without_gaps(std::array<Function, kCount> versions) {
  for (size_t i = kCount - 1; i > 0; --i) {
    if (versions[i - 1] == nullptr) versions[i - 1] = versions[i];
  }
  return versions;
}

}  // namespace ounce::engine

// At namespace scope, inside #if HWY_ONCE: the table of one function's versions.
#define OUNCE_EXPORT(function)                                                               \
  static constexpr auto function##_table =                                                   \
      ::ounce::engine::without_gaps(std::to_array<decltype(&HWY_STATIC_DISPATCH(function))>( \
          {nullptr, HWY_CHOOSE_TARGET_LIST(function), HWY_CHOOSE_FALLBACK(function)}))

// The version for the current level.
#define OUNCE_DISPATCH(function) (*function##_table[::ounce::engine::dispatch_index()])
