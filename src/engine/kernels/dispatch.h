#pragma once

// Include before hwy/foreach_target.h. Chooses the Highway targets that kernels are compiled for
// and replaces Highway's run-time choice by ours: the same tables, indexed by the level of
// engine/isa.h. That keeps Highway header-only here, and lets Arm cores without AES use NEON.

#define HWY_WANT_AVX3_DL 1
#define HWY_COMPILE_ALL_ATTAINABLE 1
#ifndef HWY_BROKEN_EMU128
#define HWY_BROKEN_EMU128 1  // the portable level is HWY_SCALAR with every compiler
#endif
#if defined(__x86_64__)
#define HWY_DISABLED_TARGETS ((1LL << 11) | (1LL << 12))  // SSE4, SSSE3
#elif defined(__aarch64__)
#define HWY_DISABLED_TARGETS ((1LL << 24) | (1LL << 25) | (1LL << 26) | (1LL << 27))  // SVE
#endif

namespace ounce::engine {

// Index into a Highway target table for current_isa(); see isa.cpp.
int dispatch_index();

}  // namespace ounce::engine

// At namespace scope, inside #if HWY_ONCE: the table of one function's versions.
#define OUNCE_EXPORT(function)                                                 \
  static decltype(&HWY_STATIC_DISPATCH(function)) const function##_table[] = { \
      nullptr, HWY_CHOOSE_TARGET_LIST(function), HWY_CHOOSE_FALLBACK(function)}

// The version for the current level.
#define OUNCE_DISPATCH(function) (*function##_table[::ounce::engine::dispatch_index()])
