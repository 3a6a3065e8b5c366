#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "engine/aligned_memory.h"
#include "engine/thread_pool.h"

/// What all kernels share. Kernels take raw pointers and sizes and trust them: shapes, strides and
/// scratch sizes were validated by the plan that calls them. Layouts are channels-last everywhere:
/// images [batch, height, width, channels], tokens [rows, channels].
namespace ounce::engine {

/// Where a kernel runs and the temporary memory it may use.
struct Context {
  ThreadPool& pool;
  // At least as many bytes as the kernel's `..._scratch_bytes` function asks for; any alignment.
  std::span<std::byte> scratch;
};

enum class Activation {
  kNone,
  kRelu,
  kClip,       // clamp to [alpha, beta]; relu6 is [0, 6]
  kLeakyRelu,  // x < 0 ? alpha * x : x
  kSilu,       // x * sigmoid(x)
  kGeluErf,    // x * (1 + erf(x / sqrt 2)) / 2
  kGeluTanh,   // the tanh approximation of it
  kSigmoid,
  kTanh,
  kHardSwish,    // x * clamp(x / 6 + 1/2, 0, 1)
  kHardSigmoid,  // clamp(alpha * x + beta, 0, 1)
};

struct ActivationSpec {
  Activation kind = Activation::kNone;
  float alpha = 0.0F;
  float beta = 0.0F;
};

/// What happens to an f32 result before it is stored:
///   y = activation(acc + bias[column] + residual)        or, with activation_first,
///   y = activation(acc + bias[column]) + residual.
struct Epilogue {
  const float* bias = nullptr;      // [columns], or null
  const float* residual = nullptr;  // [rows, columns], may alias the output exactly, or null
  int64_t residual_stride = 0;      // elements between rows of `residual`
  ActivationSpec activation{};
  bool activation_first = false;
};

/// Storage order of the weights that a packing function reads.
enum class WeightLayout {
  kKxN,  // [reduction, columns]
  kNxK,  // [columns, reduction], as nn.Linear keeps them
};

/// Cache-line aligned array, large ones on huge pages: packed panels are read with full-width
/// loads.
template <class T>
struct CacheAlignedAllocator {
  using value_type = T;
  CacheAlignedAllocator() = default;
  template <class U>
  CacheAlignedAllocator(const CacheAlignedAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(allocate_aligned(count * sizeof(T))); }
  void deallocate(T* p, size_t count) { free_aligned(p, count * sizeof(T)); }
  template <class U>
  bool operator==(const CacheAlignedAllocator<U>&) const {
    return true;
  }
};
template <class T>
using AlignedVector = std::vector<T, CacheAlignedAllocator<T>>;

/// Columns of one packed panel. The same on every instruction set, so packed weights can be moved
/// between levels: 16 f32 (or 16 groups of four bytes) fill one 512-bit, two 256-bit or four
/// 128-bit registers.
inline constexpr int64_t kPanelColumns = 16;

inline constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
inline constexpr int64_t round_up(int64_t a, int64_t b) {
  return ceil_div(a, b) * b;
}

}  // namespace ounce::engine
