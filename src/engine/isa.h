#pragma once

#include <string_view>
#include <vector>

namespace ounce::engine {

/// Instruction-set levels that the kernels are compiled for. Every level gives the same integer
/// results; float results differ by rounding only.
enum class Isa {
  kPortable,    // plain C++
  kNeon,        // 64-bit Arm, 128-bit vectors
  kNeonDot,     // + sdot
  kAvx2,        // 256-bit vectors, FMA
  kAvx512,      // F, CD, BW, DQ, VL
  kAvx512Vnni,  // + VNNI, VBMI, BITALG, VPOPCNTDQ
};

/// "portable", "neon", "neondot", "avx2", "avx512", "avx512vnni".
std::string_view isa_name(Isa isa);

/// Levels that this build and this processor can run, weakest first.
std::vector<Isa> available_isas();

/// The level that kernels run at. On first use it is the strongest available one, or the one named
/// by the environment variable OUNCE_ISA. Throws ounce::Error when that variable names none of the
/// available levels.
Isa current_isa();

/// Makes every later kernel call run at `isa`. Not to be called while kernels run on other threads.
/// Packed weights stay valid: their layout is the same on every level. Throws ounce::Error when
/// `isa` is not available.
void select_isa(Isa isa);

}  // namespace ounce::engine
