#include "engine/kernels/limit_probes.h"

#include "engine/isa.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/limit_probes.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Independent chains: the longest one of instructions here takes five cycles, and no processor
// starts more than two a cycle.
inline constexpr int kChains = 10;
// Byte counts without an instruction for it keep a table and a mask in registers, of which AVX2 has
// 16.
inline constexpr int kBitChains = 8;

// Makes the compiler believe that a register has changed, so that nothing moves out of the loop.
#if HWY_TARGET == HWY_SCALAR
template <class V>
HWY_INLINE void touch(V& v) {
  asm volatile("" : "+r"(v.raw));
}
#elif HWY_ARCH_X86
template <class V>
HWY_INLINE void touch(V& v) {
  asm volatile("" : "+v"(v.raw));
}
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
template <class V>
HWY_INLINE void touch(Dot::Halves<V>& v) {
  touch(v.even);
  touch(v.odd);
}
#endif
#else
template <class V>
HWY_INLINE void touch(V& v) {
  asm volatile("" : "+w"(v.raw));
}
HWY_INLINE void touch(int8x16_t& v) {
  asm volatile("" : "+w"(v));
}
#endif

int64_t probe_f32(int64_t rounds) {
  const DF d;
  VF factor = hn::Set(d, 0.5F);
  const VF term = hn::Set(d, 1.0F);
  VF acc[kChains];
  for (VF& chain : acc) chain = hn::Zero(d);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) acc[i] = hn::MulAdd(acc[i], factor, term);
  }
  for (VF& chain : acc) factor = hn::Add(factor, chain);
  VI bits = hn::BitCast(DI(), factor);
  touch(bits);
  return rounds * kChains * kLanes * 2;
}

template <class Dot>
int64_t probe_dot(int64_t rounds) {
  const DI d;
  auto a = Dot::prepare_a(hn::Set(d, 0x01020304));
  const auto b = Dot::prepare_b(hn::Set(d, 0x04030201));
  VI acc[kChains];
  for (VI& chain : acc) chain = hn::Zero(d);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) {
      touch(a);
      acc[i] = Dot::dot(acc[i], a, b);
    }
  }
  VI sum = hn::Zero(d);
  for (VI& chain : acc) sum = hn::Add(sum, chain);
  touch(sum);
  return rounds * kChains * kLanes * 4 * 2;
}

int64_t probe_int8(int64_t rounds) {
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) return probe_dot<DotPlain>(rounds);
#endif
  return probe_dot<Dot>(rounds);
}

// With vpopcntq, counts of 64-bit lanes; else of bytes, whose sums a kernel widens now and then,
// or of words (portable).
#if HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_SCALAR
using CountLane = uint64_t;
#else
using CountLane = uint8_t;
#endif

int64_t probe_bits(int64_t rounds) {
  const hn::ScalableTag<CountLane> d;
  auto b = hn::Set(d, CountLane{0x5A});
  hn::Vec<decltype(d)> acc[kBitChains];
  for (auto& chain : acc) chain = hn::Zero(d);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kBitChains; ++i) {
      acc[i] = hn::Add(acc[i], hn::PopulationCount(hn::Xor(acc[i], b)));
    }
    touch(b);
  }
  for (auto& chain : acc) b = hn::Add(b, chain);
  touch(b);
  return rounds * kBitChains * static_cast<int64_t>(HWY_LANES(CountLane) * sizeof(CountLane)) * 8 *
         2;
}

// Side by side from several places: one stream alone leaves requests to memory unused where pages
// are small.
inline constexpr int64_t kStreams = 8;

int64_t probe_read(std::span<const std::byte> memory) {
  const hn::ScalableTag<uint64_t> d;
  constexpr auto kVector = static_cast<int64_t>(HWY_LANES(uint64_t));
  constexpr int64_t kUnroll = 8;
  const auto* p = reinterpret_cast<const uint64_t*>(memory.data());
  const auto words = static_cast<int64_t>(memory.size() / sizeof(uint64_t)) / kStreams;
  hn::Vec<decltype(d)> acc[kUnroll];
  for (auto& chain : acc) chain = hn::Zero(d);
  int64_t i = 0;
  for (; i + kUnroll * kVector <= words; i += kUnroll * kVector) {
    for (int64_t stream = 0; stream < kStreams; ++stream) {
#pragma GCC unroll 8
      for (int64_t j = 0; j < kUnroll; ++j) {
        acc[j] = hn::Or(acc[j], hn::LoadU(d, p + stream * words + i + j * kVector));
      }
    }
  }
  for (auto& chain : acc) acc[0] = hn::Or(acc[0], chain);
  touch(acc[0]);
  return i * kStreams * static_cast<int64_t>(sizeof(uint64_t));
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(probe_f32);
OUNCE_EXPORT(probe_int8);
OUNCE_EXPORT(probe_bits);
OUNCE_EXPORT(probe_read);

int64_t probe_f32(int64_t rounds) {
  return OUNCE_DISPATCH(probe_f32)(rounds);
}
int64_t probe_int8(int64_t rounds) {
  return OUNCE_DISPATCH(probe_int8)(rounds);
}
int64_t probe_bits(int64_t rounds) {
  return OUNCE_DISPATCH(probe_bits)(rounds);
}
int64_t probe_read(std::span<const std::byte> memory) {
  return OUNCE_DISPATCH(probe_read)(memory);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
