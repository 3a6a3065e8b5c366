#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/kernels/common.h"
#include "engine/kernels/conv.h"
#include "engine/kernels/int8/gemm_u8s8.h"
#include "engine/limits.h"

// What `./dev bench kernels` times. A kernel joins the table by an entry in one of the lists below.
namespace ounce::engine {

/// One kernel on one shape.
struct KernelCase {
  std::string op;           // "gemm", "gemv", "conv3x3", ...
  std::string weights;      // "f32", "8", "4", "3", "2", "ternary", "1"
  std::string activations;  // "f32", "8", "4", "2", "1"
  std::string shape;        // products: rows x reduction x columns
  /// Of one call; a multiplication and an addition are two. Of kernels that do not multiply:
  /// elements.
  double operations = 0;
  Multiplication multiplication;
  /// Of one call, where they come from main memory each time; 0 where they stay in the cache.
  double streamed_bytes = 0;
  /// Draws the operands and packs them for the current instruction set. Returns one call.
  std::function<std::function<void()>()> prepare;
};

/// A list of cases: products and convolutions of one kind of operands.
using KernelCases = std::vector<KernelCase>;
KernelCases f32_cases();
KernelCases int8_cases();
KernelCases bits_cases();
KernelCases codes_cases();
/// The same kernels on the layer shapes of real networks.
KernelCases network_cases();
/// Attention as one step.
KernelCases attention_cases();
/// Kernels between the products, which have no instruction limit.
KernelCases elementwise_cases();

/// A pool of one thread.
ThreadPool& one_thread();

/// Uniform integers of [-125, 125] as T.
template <class T>
AlignedVector<T> random_values(int64_t count);

/// Rows of codes that an integer product leaves, [outputs / columns, columns], spread over their
/// range for a reduction of `k`.
class QuantizedOutput {
 public:
  QuantizedOutput(int64_t outputs, int64_t columns, int64_t k);
  IntegerEpilogue epilogue();

 private:
  AlignedVector<uint8_t> codes_;
  AlignedVector<float> scale_;
  int64_t columns_;
};

/// A square image through a square kernel, padded so that stride 1 keeps its size.
struct Image {
  int64_t size, in, out, kernel, stride, groups;
  ConvShape shape() const;
  /// "14x14x256-256/s1"
  std::string text() const;
  /// "conv3x3", "depthwise3x3"
  std::string op() const;
};
double conv_operations(const ConvShape& shape);

std::string product_text(int64_t m, int64_t k, int64_t n);

/// Copies of weights that together do not fit the cache, so that each call finds its own in main
/// memory; one copy where `bytes` is 0.
template <class Packed>
class Rotation {
 public:
  Rotation(const Packed& packed, size_t bytes)
      : copies_(bytes == 0 ? 1 : kBytes / bytes + 1, packed) {}
  const Packed& next() { return copies_[at_++ % copies_.size()]; }

 private:
  static constexpr size_t kBytes = size_t{128} << 20;
  std::vector<Packed> copies_;
  size_t at_ = 0;
};

KernelCase gemm_f32_case(int64_t m, int64_t k, int64_t n);
KernelCase gemm_u8s8_case(int64_t m, int64_t k, int64_t n);
KernelCase conv_f32_case(const Image& image);
KernelCase conv_u8s8_case(const Image& image);

}  // namespace ounce::engine
