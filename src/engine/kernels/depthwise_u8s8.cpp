#include <cstring>
#include <vector>

#include "engine/isa.h"
#include "engine/kernels/conv.h"
#include "engine/kernels/depthwise.h"
#include "engine/kernels/dispatch.h"
#include "engine/kernels/implicit_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/depthwise_u8s8.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/epilogue_u8-inl.h"

// A depthwise product adds nothing over channels, but a byte dot product wants four neighbours to
// add. The four are taps of one kernel column: four image rows of a vector of channels, interleaved
// byte by byte, make four vectors of four taps a channel. One interleaved column of the image then
// serves all output pixels whose windows contain it.
//
// Interleaving works within 128-bit blocks: of a vector of 16 * B bytes, register v of the four
// holds channels 16 l + 4 v .. + 3 for every block l < B. Weights, offsets and scales are kept in
// that order, and narrowing the four registers back to bytes undoes it.
//
// Channels are cut into pieces of one vector length (64, 32, 16 bytes, the longest first). A rest
// below 16 is taken by a piece of 16 that starts earlier and stores only its end.
//
// Layout of weights: [piece][group of four kernel rows][kernel column][4 registers][bytes].
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// The channels of one vector.
struct Piece {
  int64_t start;  // first channel
  int64_t bytes;  // 64, 32 or 16
  int64_t skip;   // channels at the front that another piece stores
  int64_t valid;  // channels that exist: bytes, or fewer when there are fewer than 16 in all
};

#if HWY_TARGET == HWY_SCALAR
inline constexpr int64_t kVectorBytes = 1;
#else
inline constexpr int64_t kVectorBytes = static_cast<int64_t>(HWY_LANES(uint8_t));
#endif

inline Piece piece_at(int64_t channel, int64_t channels) {
  const int64_t rest = channels - channel;
  for (int64_t bytes = kVectorBytes; bytes >= 16; bytes /= 2) {
    if (rest >= bytes) return {channel, bytes, 0, bytes};
  }
  if (channels >= 16) return {channels - 16, 16, 16 - rest, 16};
  return {0, 16, 0, channels};
}

// Calls f(piece) for all pieces; lane order in memory is that of the calls.
template <class F>
void for_pieces(int64_t channels, const F& f) {
  for (int64_t c = 0; c < channels;) {
    const Piece piece = piece_at(c, channels);
    f(piece);
    c = piece.start + piece.valid;
  }
}

// The channel within a piece that lane `lane` of register `v` belongs to.
inline int64_t channel_of(int64_t v, int64_t lane) {
  return lane / 4 * 16 + 4 * v + lane % 4;
}

void pack_depthwise(PackedDepthwiseS8& packed) {
  const ConvShape& s = packed.shape;
  const int64_t groups = ceil_div(s.kernel_h, 4);
  packed.vector_bytes = kVectorBytes;
  packed.data.clear();
  packed.offsets.clear();
  packed.column_sums.clear();
  for_pieces(s.in_channels, [&](const Piece& piece) {
    const auto weight = [&](int64_t row, int64_t column, int64_t channel) -> int8_t {
      if (row >= s.kernel_h || channel >= piece.valid) return 0;
      return packed.weights[static_cast<size_t>((row * s.kernel_w + column) * s.in_channels +
                                                piece.start + channel)];
    };
    for (int64_t i = 0; i < groups * s.kernel_w * 4 * piece.bytes; ++i) {
      const int64_t byte = i % piece.bytes;
      const int64_t v = i / piece.bytes % 4;
      const int64_t column = i / (4 * piece.bytes) % s.kernel_w;
      const int64_t row = i / (4 * piece.bytes * s.kernel_w) * 4 + byte % 4;
      packed.data.push_back(weight(row, column, channel_of(v, byte / 4)));
    }
    for (int64_t i = 0; i < piece.bytes; ++i) {
      const int64_t channel = channel_of(i / (piece.bytes / 4), i % (piece.bytes / 4));
      int32_t sum = 0;
      for (int64_t tap = 0; tap < s.taps(); ++tap) {
        sum += weight(tap / s.kernel_w, tap % s.kernel_w, channel);
      }
      const int32_t bias =
          channel < piece.valid ? packed.bias[static_cast<size_t>(piece.start + channel)] : 0;
      packed.column_sums.push_back(sum);
      packed.offsets.push_back(bias - packed.a_zero_point * sum);
    }
  });
}

// Some neighbouring output pixels, all channels.
struct PixelRun {
  // [columns][groups * 4] pixels of the image (or padding): the rows of each image column needed.
  const uint8_t* const* pixels;
  const PackedDepthwiseS8* weights;
  const float* scales;  // in the order of the weights, or null
  const IntegerEpilogue* epilogue;
  int64_t groups;
  int64_t pixel;  // index of the first output pixel
};

#if HWY_TARGET != HWY_SCALAR

template <class DB>
using Sums = hn::Vec<hn::Repartition<int32_t, DB>>;

// Four rows of bytes -> four registers of four bytes a channel.
template <class DB>
HWY_INLINE void interleave_rows(DB d, hn::Vec<DB> r0, hn::Vec<DB> r1, hn::Vec<DB> r2,
                                hn::Vec<DB> r3, Sums<DB> (&out)[4]) {
  const hn::Repartition<uint16_t, DB> d16;
  const hn::Repartition<int32_t, DB> d32;
  const auto a = hn::BitCast(d16, hn::InterleaveLower(d, r0, r1));
  const auto b = hn::BitCast(d16, hn::InterleaveLower(d, r2, r3));
  const auto e = hn::BitCast(d16, hn::InterleaveUpper(d, r0, r1));
  const auto f = hn::BitCast(d16, hn::InterleaveUpper(d, r2, r3));
  out[0] = hn::BitCast(d32, hn::InterleaveLower(d16, a, b));
  out[1] = hn::BitCast(d32, hn::InterleaveUpper(d16, a, b));
  out[2] = hn::BitCast(d32, hn::InterleaveLower(d16, e, f));
  out[3] = hn::BitCast(d32, hn::InterleaveUpper(d16, e, f));
}

template <class DB>
HWY_INLINE hn::Vec<DB> load_channels(DB d, const uint8_t* p, const Piece& piece) {
  if (piece.valid < piece.bytes) return load_part(d, p, piece.valid);
  return hn::LoadU(d, p + piece.start);
}

// kColumns == 0: any kernel width, one output pixel, no image column is used twice.
template <class Dot, int kColumns, int kStride, int kPixels, class DB>
HWY_INLINE void accumulate_columns(DB d, const PixelRun& run, const Piece& piece,
                                   const int8_t* weights, Sums<DB> (&acc)[kPixels][4]) {
  const hn::Repartition<int32_t, DB> d32;
  const int64_t bytes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t kernel_columns = kColumns != 0 ? kColumns : run.weights->shape.kernel_w;
  const int64_t columns = kColumns != 0 ? (kPixels - 1) * kStride + kColumns : kernel_columns;
  for (int64_t g = 0; g < run.groups; ++g, weights += kernel_columns * 4 * bytes) {
    const int64_t rows = std::min<int64_t>(run.weights->shape.kernel_h - g * 4, 4);
#pragma GCC unroll 12
    for (int64_t c = 0; c < columns; ++c) {
      const uint8_t* const* p = run.pixels + (c * run.groups + g) * 4;
      const auto r0 = load_channels(d, p[0], piece);
      const auto r1 = rows > 1 ? load_channels(d, p[1], piece) : r0;
      const auto r2 = rows > 2 ? load_channels(d, p[2], piece) : r0;
      const auto r3 = rows > 3 ? load_channels(d, p[3], piece) : r2;
      Sums<DB> taps[4];
      interleave_rows(d, r0, r1, r2, r3, taps);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        const auto a = Dot::prepare_a(taps[v]);
#pragma GCC unroll 8
        for (int t = 0; t < kPixels; ++t) {
          const int64_t j = c - t * kStride;
          if (j < 0 || j >= kernel_columns) continue;
          const int8_t* w = weights + (j * 4 + v) * bytes;
          const auto b =
              Dot::prepare_b(hn::BitCast(d32, hn::LoadU(d, reinterpret_cast<const uint8_t*>(w))));
          acc[t][v] = Dot::dot(acc[t][v], a, b);
        }
      }
    }
  }
}

HWY_INLINE hn::Vec128<uint8_t> narrow(hn::Full128<uint8_t> d, const hn::Vec128<int32_t> (&q)[4]) {
  const hn::Full128<int16_t> d16;
  return hn::Combine(d,
                     hn::DemoteTo(hn::Half<decltype(d)>(), hn::ReorderDemote2To(d16, q[2], q[3])),
                     hn::DemoteTo(hn::Half<decltype(d)>(), hn::ReorderDemote2To(d16, q[0], q[1])));
}
#if HWY_CAP_GE256
HWY_INLINE hn::Vec256<uint8_t> narrow(hn::Full256<uint8_t>, const hn::Vec256<int32_t> (&q)[4]) {
  return hn::Vec256<uint8_t>{_mm256_packus_epi16(_mm256_packs_epi32(q[0].raw, q[1].raw),
                                                 _mm256_packs_epi32(q[2].raw, q[3].raw))};
}
#endif
#if HWY_CAP_GE512
HWY_INLINE hn::Vec512<uint8_t> narrow(hn::Full512<uint8_t>, const hn::Vec512<int32_t> (&q)[4]) {
  return hn::Vec512<uint8_t>{_mm512_packus_epi16(_mm512_packs_epi32(q[0].raw, q[1].raw),
                                                 _mm512_packs_epi32(q[2].raw, q[3].raw))};
}
#endif

template <class DB>
HWY_INLINE void store_channels(DB d, hn::Vec<DB> v, uint8_t* p, const Piece& piece) {
  if (piece.skip == 0 && piece.valid == piece.bytes) return hn::StoreU(v, d, p + piece.start);
  alignas(64) uint8_t buffer[64];
  hn::Store(v, d, buffer);
  std::memcpy(p + piece.start + piece.skip, buffer + piece.skip,
              static_cast<size_t>(piece.valid - piece.skip));
}

// Requantized codes of one pixel.
template <class DB>
HWY_INLINE void store_codes_of_pixel(DB d, const Sums<DB> (&sums)[4], const PixelRun& run,
                                     const Piece& piece, const float* scales, int64_t pixel) {
  const hn::Repartition<int32_t, DB> d32;
  const hn::Repartition<float, DB> df;
  const IntegerEpilogue& e = *run.epilogue;
  const auto lo = hn::Set(df, static_cast<float>(e.lo - e.zero_point));
  const auto hi = hn::Set(df, static_cast<float>(e.hi - e.zero_point));
  const auto zero = hn::Set(d32, e.zero_point);
  Sums<DB> residual[4];
  if (e.residual != nullptr) {
    const auto none = hn::Zero(d);
    const uint8_t* p = e.residual + pixel * e.residual_stride;
    interleave_rows(d, load_channels(d, p, piece), none, none, none, residual);
  }
  Sums<DB> q[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const auto scale = hn::LoadU(df, scales + v * static_cast<int64_t>(hn::Lanes(df)));
    auto x = hn::Mul(hn::ConvertTo(df, sums[v]), scale);
    if (e.residual != nullptr) {
      const auto code = hn::Sub(residual[v], hn::Set(d32, e.residual_zero_point));
      x = hn::Add(x, hn::Mul(hn::ConvertTo(df, code), hn::Set(df, e.residual_scale)));
    }
    q[v] = hn::Add(round_to_i32(hn::Min(hn::Max(x, lo), hi)), zero);
  }
  store_channels(d, narrow(d, q), static_cast<uint8_t*>(e.c) + pixel * e.ldc, piece);
}

// Sums of one pixel in the order of channels, for the other outputs.
template <class DB>
HWY_INLINE void store_sums_of_pixel(DB d, const Sums<DB> (&sums)[4], int32_t* out) {
  const hn::Repartition<int32_t, DB> d32;
  alignas(64) int32_t lanes[16];
  for (int64_t v = 0; v < 4; ++v) {
    hn::Store(sums[v], d32, lanes);
    for (size_t lane = 0; lane < hn::Lanes(d32); lane += 4) {
      std::memcpy(out + channel_of(v, static_cast<int64_t>(lane)), lanes + lane,
                  4 * sizeof(int32_t));
    }
  }
  (void)d;
}

template <class Dot, int kColumns, int kStride, int kPixels, class DB>
HWY_INLINE void run_piece(DB d, const PixelRun& run, const Piece& piece, const int8_t* weights,
                          int64_t lane) {
  const hn::Repartition<int32_t, DB> d32;
  constexpr int64_t kStep = static_cast<int64_t>(hn::MaxLanes(hn::Repartition<int32_t, DB>()));
  Sums<DB> acc[kPixels][4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    auto start = hn::LoadU(d32, run.weights->offsets.data() + lane + v * kStep);
    if (Dot::kInputShift != 0) {
      const auto sums = hn::LoadU(d32, run.weights->column_sums.data() + lane + v * kStep);
      start = hn::Add(start, hn::Mul(sums, hn::Set(d32, Dot::kInputShift)));
    }
#pragma GCC unroll 8
    for (int t = 0; t < kPixels; ++t) acc[t][v] = start;
  }
  accumulate_columns<Dot, kColumns, kStride, kPixels>(d, run, piece, weights, acc);
  if (run.epilogue->output == IntegerOutput::kU8) {
#pragma GCC unroll 8
    for (int t = 0; t < kPixels; ++t) {
      store_codes_of_pixel(d, acc[t], run, piece, run.scales + lane, run.pixel + t);
    }
    return;
  }
  alignas(64) int32_t sums[kPixels * kSumStride];
  for (int t = 0; t < kPixels; ++t) store_sums_of_pixel(d, acc[t], sums + t * kSumStride);
  // Columns of the epilogue are the channels that this piece stores.
  finish_sums({sums + piece.skip, kPixels, piece.valid - piece.skip, run.pixel,
               piece.start + piece.skip, nullptr},
              *run.epilogue);
}

template <class Dot, int kColumns, int kStride, int kPixels>
void run_pixels(const PixelRun& run) {
  const ConvShape& s = run.weights->shape;
  const int8_t* weights = run.weights->data.data();
  int64_t lane = 0;
  for_pieces(s.in_channels, [&](const Piece& piece) HWY_ATTR {
    switch (piece.bytes) {
#if HWY_CAP_GE512
      case 64:
        run_piece<Dot, kColumns, kStride, kPixels>(hn::Full512<uint8_t>(), run, piece, weights,
                                                   lane);
        break;
#endif
#if HWY_CAP_GE256
      case 32:
        run_piece<Dot, kColumns, kStride, kPixels>(hn::Full256<uint8_t>(), run, piece, weights,
                                                   lane);
        break;
#endif
      default:
        run_piece<Dot, kColumns, kStride, kPixels>(hn::Full128<uint8_t>(), run, piece, weights,
                                                   lane);
        break;
    }
    weights += run.groups * s.kernel_w * 4 * piece.bytes;
    lane += piece.bytes;
  });
  const IntegerEpilogue& e = *run.epilogue;
  if (e.output != IntegerOutput::kU8 || e.table == nullptr) return;
  for (int64_t t = 0; t < kPixels; ++t) {
    uint8_t* c = static_cast<uint8_t*>(e.c) + (run.pixel + t) * e.ldc;
    lookup_bytes(c, c, s.in_channels, e.table);
  }
}

#else  // HWY_SCALAR

template <class Dot, int kColumns, int kStride, int kPixels>
void run_pixels(const PixelRun& run) {
  const ConvShape& s = run.weights->shape;
  for (int64_t t = 0; t < kPixels; ++t) {
    for (int64_t c = 0; c < s.in_channels; ++c) {
      int32_t sum = run.weights->bias[static_cast<size_t>(c)];
      for (int64_t tap = 0; tap < s.taps(); ++tap) {
        const int64_t row = tap / s.kernel_w;
        const int64_t column = tap % s.kernel_w + t * kStride;
        const int32_t code = run.pixels[column * run.groups * 4 + row][c];
        sum += (code - run.weights->a_zero_point) *
               run.weights->weights[static_cast<size_t>(tap * s.in_channels + c)];
      }
      finish_sums({&sum, 1, 1, run.pixel + t, c, nullptr}, *run.epilogue);
    }
  }
}

#endif

// Pixels of a row that one run computes: their sums (four registers each), a column of the image
// and the weights in use should fit in the registers.
#if HWY_TARGET == HWY_AVX2
inline constexpr int kRunPixels = 2;
#else
inline constexpr int kRunPixels = 4;
#endif

struct RunFunction {
  int64_t pixels;
  void (*run)(const PixelRun&);
};

// For `left` output pixels still to do.
template <class Dot>
RunFunction run_function(const ConvShape& s, int64_t left) {
  const bool plain = s.dilation_w == 1 && left > 1;
  const bool most = left >= kRunPixels;
  if (plain && s.kernel_w == 3 && s.stride_w == 1) {
    if (most) return {kRunPixels, &run_pixels<Dot, 3, 1, kRunPixels>};
    return {2, &run_pixels<Dot, 3, 1, 2>};
  }
  if (plain && s.kernel_w == 3 && s.stride_w == 2) {
    if (most) return {kRunPixels, &run_pixels<Dot, 3, 2, kRunPixels>};
    return {2, &run_pixels<Dot, 3, 2, 2>};
  }
  if (plain && s.kernel_w == 5 && s.stride_w == 1) {
    if (most) return {kRunPixels, &run_pixels<Dot, 5, 1, kRunPixels>};
    return {2, &run_pixels<Dot, 5, 1, 2>};
  }
  if (plain && s.kernel_w == 5 && s.stride_w == 2) {
    if (most) return {kRunPixels, &run_pixels<Dot, 5, 2, kRunPixels>};
    return {2, &run_pixels<Dot, 5, 2, 2>};
  }
  return {1, &run_pixels<Dot, 0, 1, 1>};
}

struct RowJob {
  const uint8_t* input;
  const uint8_t* padding;  // a pixel of zero points
  const PackedDepthwiseS8* weights;
  const float* scales;
  const IntegerEpilogue* epilogue;
};

// One row of output pixels.
template <class Dot>
void depthwise_row(const RowJob& job, const ConvShape& s, int64_t row, const uint8_t** pixels) {
  const int64_t groups = ceil_div(s.kernel_h, 4);
  const int64_t image = row / s.out_h;
  const int64_t top = row % s.out_h * s.stride_h - s.pad_top;
  for (int64_t x = 0; x < s.out_w;) {
    const RunFunction function = run_function<Dot>(s, s.out_w - x);
    const int64_t columns = (function.pixels - 1) * s.stride_w + s.kernel_w;
    const uint8_t** next = pixels;
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t in_x = x * s.stride_w - s.pad_left + c * s.dilation_w;
      const bool inside_x = in_x >= 0 && in_x < s.in_w;
      for (int64_t i = 0; i < groups * 4; ++i) {
        const int64_t in_y = top + i * s.dilation_h;
        const bool inside = inside_x && i < s.kernel_h && in_y >= 0 && in_y < s.in_h;
        *next++ = inside ? job.input + ((image * s.in_h + in_y) * s.in_w + in_x) * s.in_channels
                         : job.padding;
      }
    }
    function.run({pixels, job.weights, job.scales, job.epilogue, groups, row * s.out_w + x});
    x += function.pixels;
  }
}

template <class Dot>
void depthwise(const Context& context, const uint8_t* input, const PackedDepthwiseS8& weights,
               const ConvShape& s, const IntegerEpilogue& epilogue) {
  const int threads = context.pool.size();
  const int64_t stored = round_up(s.in_channels, 16) + 64;
  const int64_t pointers = depthwise_pointers(s);
  ScratchCursor cursor(context.scratch);
  uint8_t* padding = cursor.take<uint8_t>(stored);
  float* scales = cursor.take<float>(stored);
  const uint8_t** table = cursor.take<const uint8_t*>(pointers * threads);
  std::memset(padding, weights.a_zero_point, static_cast<size_t>(stored));
#if HWY_TARGET != HWY_SCALAR
  if (epilogue.output == IntegerOutput::kU8) {
    float* next = scales;
    for_pieces(s.in_channels, [&](const Piece& piece) {
      for (int64_t i = 0; i < piece.bytes; ++i) {
        const int64_t channel = channel_of(i / (piece.bytes / 4), i % (piece.bytes / 4));
        *next++ = channel < piece.valid ? epilogue.scale[piece.start + channel] : 0.0F;
      }
    });
  }
#endif
  const RowJob job = {input, padding, &weights, scales, &epilogue};
  context.pool.parallel_for(s.batch * s.out_h, [&](int64_t row, int thread) {
    depthwise_row<Dot>(job, s, row, table + thread * pointers);
  });
}

void run_depthwise_u8s8(const Context& context, const uint8_t* input,
                        const PackedDepthwiseS8& weights, const ConvShape& s,
                        const IntegerEpilogue& epilogue) {
  if (weights.vector_bytes != kVectorBytes) {
    PackedDepthwiseS8 repacked = weights;
    pack_depthwise(repacked);
    return run_depthwise_u8s8(context, input, repacked, s, epilogue);
  }
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) {
    return depthwise<DotPlain>(context, input, weights, s, epilogue);
  }
#endif
  depthwise<Dot>(context, input, weights, s, epilogue);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(pack_depthwise);
OUNCE_EXPORT(run_depthwise_u8s8);

PackedDepthwiseS8 pack_depthwise_s8(const int8_t* hwc, const ConvShape& shape, int32_t a_zero_point,
                                    const int32_t* bias) {
  PackedDepthwiseS8 packed;
  packed.shape = shape;
  packed.a_zero_point = a_zero_point;
  packed.weights.assign(hwc, hwc + shape.taps() * shape.in_channels);
  packed.bias.assign(static_cast<size_t>(shape.in_channels), 0);
  if (bias != nullptr) std::copy_n(bias, shape.in_channels, packed.bias.begin());
  OUNCE_DISPATCH(pack_depthwise)(packed);
  return packed;
}

void depthwise_u8s8(const Context& context, const uint8_t* input, const PackedDepthwiseS8& weights,
                    const ConvShape& shape, const IntegerEpilogue& epilogue) {
  OUNCE_DISPATCH(run_depthwise_u8s8)(context, input, weights, shape, epilogue);
}

size_t depthwise_u8s8_scratch_bytes(const ConvShape& shape, int threads) {
  const int64_t stored = round_up(shape.in_channels, 16) + 64;
  return ScratchCursor::need<uint8_t>(stored) + ScratchCursor::need<float>(stored) +
         ScratchCursor::need<const uint8_t*>(depthwise_pointers(shape) * threads);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
