#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

/// Loops that do nothing but what they measure, at the current instruction-set level (see
/// engine/limits.h). All operands of the arithmetic ones stay in registers. Each returns the
/// operations it did, and runs in time proportional to `rounds`.
namespace ounce::engine {

int64_t probe_f32(int64_t rounds);
int64_t probe_int8(int64_t rounds);
/// Every word counted, or two at a time with a carry: which is faster depends on the processor.
int64_t probe_bits(int64_t rounds);
int64_t probe_bits_with_carry(int64_t rounds);

/// Reads `memory` once from end to end. Returns its bytes.
int64_t probe_read(std::span<const std::byte> memory);

}  // namespace ounce::engine
