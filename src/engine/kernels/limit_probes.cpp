#include "engine/kernels/limit_probes.h"

#include "engine/isa.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/limit_probes.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/vector/dot4-inl.h"
#include "engine/kernels/vector/tally-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Independent chains: the longest one of instructions here takes five cycles, and no processor
// starts more than two a cycle.
inline constexpr int kChains = 10;
// Of up to two registers each, beside a table and a mask where bits are not counted by an
// instruction: AVX2 has 16.
inline constexpr int kBitChains = HWY_CAP_GE512 ? 6 : 4;

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
#pragma GCC unroll kUnroll
    for (VF& chain : acc) chain = hn::MulAdd(chain, factor, term);
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
#pragma GCC unroll kUnroll
    for (VI& chain : acc) {
      touch(a);
      chain = Dot::dot(chain, a, b);
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

// The counting of the binary kernels without their loads, as tally-inl.h has it for this level.
// What a counter may count before its bytes overflow does not matter here.
struct PlainCounter {
  HWY_INLINE PlainCounter() {}  // an implicit one would not be compiled for the target
  VI counted;
  HWY_INLINE void reset() { counted = hn::Zero(DI()); }
  HWY_INLINE void step(const HalfWords* a, const HalfWords* b) {
    for (int h = 0; h < 2; ++h) {
      counted = tally(counted, join_words<BitJoin::kXor>(a->half[h], b->half[h]));
    }
  }
  HWY_INLINE VI sum() const { return counted; }
};

template <class Counter>
int64_t count_bits(int64_t rounds) {
  const DI d;
  HalfWords a(hn::Set(d, 0x5A), hn::Set(d, 0x33));
  HalfWords b(hn::Set(d, 0x0F), hn::Set(d, 0x17));
  Counter counters[kBitChains];
  for (Counter& counter : counters) counter.reset();
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll kUnroll
    for (Counter& counter : counters) {
      touch(a.half[0]);
      touch(b.half[1]);
      counter.step(&a, &b);
    }
  }
  VI sum = hn::Zero(d);
  for (Counter& counter : counters) sum = hn::Add(sum, counter.sum());
  touch(sum);
  return rounds * kBitChains * kLanes * 64 * 2;
}

int64_t probe_bits(int64_t rounds) {
  return count_bits<PlainCounter>(rounds);
}
int64_t probe_bits_with_carry(int64_t rounds) {
  return count_bits<JoinCounter<BitJoin::kXor>>(rounds);
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
#pragma GCC unroll kUnroll
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
OUNCE_EXPORT(probe_bits_with_carry);
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
int64_t probe_bits_with_carry(int64_t rounds) {
  return OUNCE_DISPATCH(probe_bits_with_carry)(rounds);
}
int64_t probe_read(std::span<const std::byte> memory) {
  return OUNCE_DISPATCH(probe_read)(memory);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
