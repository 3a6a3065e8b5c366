#pragma once

/// Before a function whose loops the compiler shall turn into vectors: makes one for each width of
/// vectors, of which the machine's widest is called. What is inlined into it widens, too; so it is
/// for whole runs of elements, not for one. GCC on x86-64 alone; elsewhere a single function.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
#define OUNCE_VECTOR_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define OUNCE_VECTOR_CLONES
#endif

// GCC does not vectorize comparisons that might raise a floating-point exception, and rounds a
// product and a sum together where the machine can: results would depend on the clone. Clang takes
// the first for granted. Included before what is inlined: GCC inlines no function into one of other
// options.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math", "fp-contract=off")
#endif
