#pragma once

#include <cstdint>

namespace ounce::engine {

/// The instructions that a kernel multiplies with.
enum class Arithmetic {
  kF32,   // fused multiply-adds of floats
  kInt8,  // products of unsigned and signed bytes, summed in 32 bits
  kBits,  // exclusive or and population count
};

/// How a step multiplies, which says what limit of the machine it runs into.
struct Multiplication {
  Arithmetic arithmetic = Arithmetic::kF32;
  int weight_bits = 32;      // as stored; 2 for ternary
  int activation_bits = 32;  // as multiplied
  /// kBits only: products of single bits that one multiplication takes, 4 for two planes by two.
  int bit_products = 1;
  bool ternary = false;  // kBits only: both operands hold -1, 0, +1, for which two planes take 2
};

inline constexpr Multiplication kInt8Multiplication = {Arithmetic::kInt8, 8, 8};

/// The most that this machine does per second at one instruction-set level, kernels aside. A
/// multiplication and an addition are two operations.
struct MachineLimits {
  double f32_gops = 0;
  double int8_gops = 0;
  double bit_gops = 0;  // two operations a bit: exclusive or, and counting it
  double read_gbs = 0;  // 1e9 bytes a second, read in order from main memory

  double gops(const Multiplication& multiplication) const;
};

/// Limits of `threads` threads together at `current_isa()`. Measured on the first call for a level
/// and number of threads (some 80 ms), then remembered. May be called from any thread.
MachineLimits machine_limits(int threads = 1);

/// MachineLimits::read_gbs measured now (some 50 ms): what others do to the memory changes from
/// second to second.
double measure_read_gbs(int threads = 1);

}  // namespace ounce::engine
