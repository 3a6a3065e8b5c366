// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_DEPTHWISE_U8S8_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_DEPTHWISE_U8S8_INL_H
#undef OUNCE_ENGINE_KERNELS_DEPTHWISE_U8S8_INL_H
#else
#define OUNCE_ENGINE_KERNELS_DEPTHWISE_U8S8_INL_H
#endif

#include <cstring>
#include <utility>

#include "engine/kernels/conv.h"
#include "engine/kernels/int8/epilogue_u8-inl.h"

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
// Few channels would leave most of a vector empty. Where windows are side by side (stride 1), so
// are the channels of neighbouring pixels: `fold` output pixels are then taken as one pixel of fold
// * C channels, whose weights repeat every C. Its tap j lies C bytes after tap j - 1.
//
// Output rows go in pairs where windows are one image row apart: both use the interleaved bytes of
// the same image rows, the second with weights that are one row further down.
//
// Layout of weights: [piece][output row of a pair][group of four image rows][kernel column]
// [4 registers][bytes].
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

// Some neighbouring output pixels (wide ones, if folded) of one output row or of two, all channels.
struct PixelRun {
  // [groups * 4] first pixel of the windows in every image row (rows beyond them: any pixels);
  // neighbouring columns are `column_step` bytes apart.
  const uint8_t* const* rows;
  int64_t column_step;
  const PackedDepthwiseS8* weights;
  const float* scales;               // in the order of the weights, or null
  const IntegerEpilogue* epilogues;  // [output rows], which differ only in their place
  int64_t pixel;                     // index of the first output pixel in the row
  int64_t repeats;                   // as many runs side by side
  int64_t advance;                   // bytes between the windows of one run and the next
};

// How a kernel's loops are unrolled. columns == 0: any kernel, one output pixel; no image column is
// used twice then.
template <int columns, int stride, int pixels, int rows, int output_rows>
struct Unroll {
  static constexpr int kColumns = columns;
  static constexpr int kStride = stride;
  static constexpr int kPixels = pixels;
  static constexpr int kRows = rows;  // kernel rows, or 0 for any
  static constexpr int kOutputRows = output_rows;
  static constexpr int kImageRows = rows == 0 ? 0 : rows + output_rows - 1;
  static constexpr int kImageColumns = (pixels - 1) * stride + columns;
  static constexpr int kSums = pixels * output_rows;  // [output row][pixel]
};

// Output pixels that one run computes: their sums (four registers each), a column of the image and
// the weights in use should fit in the registers.
#if HWY_TARGET == HWY_AVX2
inline constexpr int kRunPixels = 2;
#else
inline constexpr int kRunPixels = 4;
#endif

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
  if (HWY_UNLIKELY(piece.valid < piece.bytes)) return load_part(d, p, piece.valid);
  return hn::LoadU(d, p + piece.start);
}

// One image column of one group of kernel rows. Rows beyond the kernel have zero weights.
template <class U, class DB>
HWY_INLINE void load_column(DB d, const uint8_t* const* rows, int64_t offset, const Piece& piece,
                            Sums<DB> (&out)[4]) {
  const int64_t at = offset + piece.start;
  if constexpr (U::kImageRows == 3) {
    const auto r2 = hn::LoadU(d, rows[2] + at);
    interleave_rows(d, hn::LoadU(d, rows[0] + at), hn::LoadU(d, rows[1] + at), r2, r2, out);
  } else if constexpr (U::kColumns != 0) {
    interleave_rows(d, hn::LoadU(d, rows[0] + at), hn::LoadU(d, rows[1] + at),
                    hn::LoadU(d, rows[2] + at), hn::LoadU(d, rows[3] + at), out);
  } else {
    interleave_rows(
        d, load_channels(d, rows[0] + offset, piece), load_channels(d, rows[1] + offset, piece),
        load_channels(d, rows[2] + offset, piece), load_channels(d, rows[3] + offset, piece), out);
  }
}

template <class Dot, class DB>
HWY_INLINE void add_tap(DB d, const Sums<DB> (&taps)[4], const int8_t* weights,
                        Sums<DB> (&acc)[4]) {
  const hn::Repartition<int32_t, DB> d32;
  constexpr int64_t kBytes = static_cast<int64_t>(hn::MaxLanes(DB()));
#pragma GCC unroll kUnroll
  for (int v = 0; v < 4; ++v) {
    const auto* w = reinterpret_cast<const uint8_t*>(weights + v * kBytes);
    acc[v] = Dot::dot(acc[v], Dot::prepare_a(taps[v]),
                      Dot::prepare_b(hn::BitCast(d32, hn::LoadU(d, w))));
  }
}

// The weights of one group of image rows: [4 registers][bytes] for every kernel column.
struct GroupWeights {
  const int8_t* data;
  int64_t row_step;  // from those of an output row to those of the next
};

// Image column kColumn for output pixel kSum, if its window contains it.
template <class Dot, class U, int kColumn, int kSum, class DB>
HWY_INLINE void add_tap_at(DB d, const Sums<DB> (&taps)[4], const GroupWeights& weights,
                           Sums<DB> (&acc)[4]) {
  constexpr int kTap = kColumn - kSum % U::kPixels * U::kStride;
  if constexpr (kTap >= 0 && kTap < U::kColumns) {
    const int8_t* row = weights.data + kSum / U::kPixels * weights.row_step;
    add_tap<Dot>(d, taps, row + kTap * 4 * static_cast<int64_t>(hn::MaxLanes(DB())), acc);
  }
}

// Image column kColumn for all output pixels whose windows contain it.
template <class Dot, class U, int kColumn, class DB, int... kSum>
HWY_INLINE void add_column(DB d, const PixelRun& run, int64_t at, int64_t group, const Piece& piece,
                           const GroupWeights& weights, Sums<DB> (&acc)[U::kSums][4],
                           std::integer_sequence<int, kSum...>) {
  Sums<DB> taps[4];
  load_column<U>(d, run.rows + group * 4, at + kColumn * run.column_step, piece, taps);
  (add_tap_at<Dot, U, kColumn, kSum>(d, taps, weights, acc[kSum]), ...);
}

template <class Dot, class U, class DB, int... kColumn>
HWY_INLINE void add_columns(DB d, const PixelRun& run, int64_t at, int64_t group,
                            const Piece& piece, const GroupWeights& weights,
                            Sums<DB> (&acc)[U::kSums][4], std::integer_sequence<int, kColumn...>) {
  (add_column<Dot, U, kColumn>(d, run, at, group, piece, weights, acc,
                               std::make_integer_sequence<int, U::kSums>()),
   ...);
}

template <class Dot, class U, class DB>
HWY_INLINE void accumulate_columns(DB d, const PixelRun& run, int64_t at, const Piece& piece,
                                   const int8_t* weights, Sums<DB> (&acc)[U::kSums][4]) {
  constexpr int64_t kBytes = static_cast<int64_t>(hn::MaxLanes(DB()));
  constexpr int64_t kGroupBytes = U::kColumns * 4 * kBytes;
  if constexpr (U::kColumns != 0 && U::kRows != 0) {
    static_assert(U::kImageRows <= 4);
    add_columns<Dot, U>(d, run, at, 0, piece, {weights, kGroupBytes}, acc,
                        std::make_integer_sequence<int, U::kImageColumns>());
  } else if constexpr (U::kColumns != 0) {
    const int64_t groups = run.weights->groups;
    for (int64_t g = 0; g < groups; ++g, weights += kGroupBytes) {
      add_columns<Dot, U>(d, run, at, g, piece, {weights, groups * kGroupBytes}, acc,
                          std::make_integer_sequence<int, U::kImageColumns>());
    }
  } else {
    const int64_t columns = run.weights->shape.kernel_w;
    for (int64_t i = 0; i < run.weights->groups * columns; ++i, weights += 4 * kBytes) {
      Sums<DB> taps[4];
      load_column<U>(d, run.rows + i / columns * 4, at + i % columns * run.column_step, piece,
                     taps);
      add_tap<Dot>(d, taps, weights, acc[0]);
    }
  }
}

template <class DB>
HWY_INLINE void store_channels(DB d, hn::Vec<DB> v, uint8_t* p, const Piece& piece) {
  if (piece.skip == 0 && piece.valid == piece.bytes) return hn::StoreU(v, d, p + piece.start);
  alignas(64) uint8_t buffer[64];
  hn::Store(v, d, buffer);
  std::memcpy(p + piece.start + piece.skip, buffer + piece.skip,
              static_cast<size_t>(piece.valid - piece.skip));
}

// Requantized codes of one pixel.
template <bool kResidual, class DB>
HWY_INLINE void store_codes_of_pixel(DB d, const Sums<DB> (&sums)[4], const IntegerEpilogue& e,
                                     const Piece& piece, const float* scales,
                                     const CodeLimits<DB>& limits, int64_t pixel) {
  const hn::Repartition<float, DB> df;
  Sums<DB> residual[4] = {sums[0], sums[1], sums[2], sums[3]};
  if constexpr (kResidual) {
    const auto none = hn::Zero(d);
    const uint8_t* p = e.residual + pixel * e.residual_stride;
    interleave_rows(d, load_channels(d, p, piece), none, none, none, residual);
  }
  Sums<DB> q[4];
#pragma GCC unroll kUnroll
  for (int v = 0; v < 4; ++v) {
    const auto scale = hn::LoadU(df, scales + v * static_cast<int64_t>(hn::MaxLanes(df)));
    q[v] = round_scaled<kResidual>(sums[v], scale, residual[v], limits);
  }
  store_channels(d, narrow(q, limits), static_cast<uint8_t*>(e.c) + pixel * e.ldc, piece);
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

// What a run leaves in memory: [output row][pixel][4 registers].
struct StoredRun {
  const int32_t* sums;
  int64_t output_rows, pixels;
  int64_t pixel;  // the first one of each output row
};

// Whether registers of sums become codes as they are: without a bias in floats.
inline bool makes_codes(const IntegerEpilogue& e) {
  return e.output == IntegerOutput::kU8 && e.f32.bias == nullptr;
}

// Everything but plain codes, which is rare behind a depthwise product: one function for all runs.
template <class DB>
HWY_NOINLINE void finish_stored(DB d, const StoredRun& stored, const IntegerEpilogue* epilogues,
                                Piece piece, const float* scales) {
  const hn::Repartition<int32_t, DB> d32;
  constexpr int64_t kStep = static_cast<int64_t>(hn::MaxLanes(hn::Repartition<int32_t, DB>()));
  const CodeLimits<DB> limits(*epilogues);
  const int32_t* from = stored.sums;
  for (int64_t row = 0; row < stored.output_rows; ++row) {
    const IntegerEpilogue& e = epilogues[row];
    alignas(64) int32_t ordered[kRunPixels * kSumStride];
    for (int64_t t = 0; t < stored.pixels; ++t, from += 4 * kStep) {
      const Sums<DB> sums[4] = {hn::Load(d32, from), hn::Load(d32, from + kStep),
                                hn::Load(d32, from + 2 * kStep), hn::Load(d32, from + 3 * kStep)};
      if (makes_codes(e)) {
        store_codes_of_pixel<true>(d, sums, e, piece, scales, limits, stored.pixel + t);
      } else {
        store_sums_of_pixel(d, sums, ordered + t * kSumStride);
      }
    }
    if (makes_codes(e)) continue;
    // Columns of the epilogue are the channels that this piece stores.
    finish_sums({ordered + piece.skip, stored.pixels, piece.valid - piece.skip, stored.pixel,
                 piece.start + piece.skip, nullptr},
                e);
  }
}

template <class U, class DB>
HWY_INLINE void finish_run(DB d, const Sums<DB> (&acc)[U::kSums][4], const PixelRun& run,
                           const Piece& piece, const float* scales, const CodeLimits<DB>& limits,
                           int64_t pixel) {
  const IntegerEpilogue* e = run.epilogues;
  if (makes_codes(*e) && e->residual == nullptr) {
#pragma GCC unroll kUnroll
    for (int t = 0; t < U::kSums; ++t) {
      store_codes_of_pixel<false>(d, acc[t], e[t / U::kPixels], piece, scales, limits,
                                  pixel + t % U::kPixels);
    }
    return;
  }
  const hn::Repartition<int32_t, DB> d32;
  constexpr int64_t kStep = static_cast<int64_t>(hn::MaxLanes(hn::Repartition<int32_t, DB>()));
  alignas(64) int32_t sums[U::kSums * 4 * kStep];
#pragma GCC unroll kUnroll
  for (int t = 0; t < U::kSums; ++t) {
#pragma GCC unroll kUnroll
    for (int v = 0; v < 4; ++v) hn::Store(acc[t][v], d32, sums + (t * 4 + v) * kStep);
  }
  finish_stored(d, {sums, U::kOutputRows, U::kPixels, pixel}, e, piece, scales);
}

template <class Dot, class U, class DB>
HWY_INLINE void run_piece(DB d, const PixelRun& run, const Piece& given, const int8_t* weights,
                          int64_t lane) {
  const hn::Repartition<int32_t, DB> d32;
  constexpr int64_t kStep = static_cast<int64_t>(hn::MaxLanes(hn::Repartition<int32_t, DB>()));
  const Piece piece = given;  // a local copy: no store of a code can change it
  const CodeLimits<DB> limits(*run.epilogues);
  Sums<DB> start[4];
#pragma GCC unroll kUnroll
  for (int v = 0; v < 4; ++v) {
    start[v] = hn::LoadU(d32, run.weights->offsets.data() + lane + v * kStep);
    if (Dot::kInputShift != 0) {
      const auto sums = hn::LoadU(d32, run.weights->column_sums.data() + lane + v * kStep);
      start[v] = hn::Add(start[v], hn::Mul(sums, hn::Set(d32, Dot::kInputShift)));
    }
  }
  for (int64_t r = 0; r < run.repeats; ++r) {
    Sums<DB> acc[U::kSums][4];
#pragma GCC unroll kUnroll
    for (int v = 0; v < 4; ++v) {
#pragma GCC unroll kUnroll
      for (int t = 0; t < U::kSums; ++t) acc[t][v] = start[v];
    }
    accumulate_columns<Dot, U>(d, run, r * run.advance, piece, weights, acc);
    finish_run<U>(d, acc, run, piece, run.scales + lane, limits, run.pixel + r * U::kPixels);
  }
}

template <class Dot, class U>
void run_pixels(const PixelRun& run) {
  const int64_t channels = run.weights->wide_channels();
  const int8_t* weights = run.weights->data.data();
  int64_t lane = 0;
  for_pieces(channels, [&](const Piece& piece) HWY_ATTR {
    switch (piece.bytes) {
#if HWY_CAP_GE512
      case 64:
        run_piece<Dot, U>(hn::Full512<uint8_t>(), run, piece, weights, lane);
        break;
#endif
#if HWY_CAP_GE256
      case 32:
        run_piece<Dot, U>(hn::Full256<uint8_t>(), run, piece, weights, lane);
        break;
#endif
      default:
        run_piece<Dot, U>(hn::Full128<uint8_t>(), run, piece, weights, lane);
        break;
    }
    weights += run.weights->lane_bytes() * piece.bytes;
    lane += piece.bytes;
  });
  for (int row = 0; row < U::kOutputRows; ++row) {
    const IntegerEpilogue& e = run.epilogues[row];
    if (!makes_codes(e) || e.table == nullptr) return;
    for (int64_t t = 0; t < run.repeats * U::kPixels; ++t) {
      uint8_t* c = static_cast<uint8_t*>(e.c) + (run.pixel + t) * e.ldc;
      lookup_bytes(c, c, channels, e.table);
    }
  }
}

#else  // HWY_SCALAR

template <class Dot, class U>
void run_pixels(const PixelRun& run) {
  const ConvShape& s = run.weights->shape;
  for (int64_t t = 0; t < run.repeats * U::kPixels; ++t) {
    for (int64_t c = 0; c < s.in_channels; ++c) {
      int32_t sum = run.weights->offsets[static_cast<size_t>(c)];
      for (int64_t tap = 0; tap < s.taps(); ++tap) {
        const int64_t column = tap % s.kernel_w + t % U::kPixels * U::kStride;
        const int64_t at = t / U::kPixels * run.advance + column * run.column_step;
        const int32_t code = run.rows[tap / s.kernel_w][at + c];
        sum += code * run.weights->data[static_cast<size_t>(tap * s.in_channels + c)];
      }
      finish_sums({&sum, 1, 1, run.pixel + t, c, nullptr}, *run.epilogues);
    }
  }
}

#endif

// A kernel, and the output pixels of one row that it computes.
struct RunFunction {
  int64_t pixels;
  void (*run)(const PixelRun&);
};

// The widest run of a kernel shape for `left` output pixels still to do.
template <class Dot, int kColumns, int kStride, int kRows, int kOutputRows>
RunFunction widest_run(int64_t left) {
  constexpr int kMost = kRunPixels / kOutputRows;
  if (left >= kMost) {
    return {kMost, &run_pixels<Dot, Unroll<kColumns, kStride, kMost, kRows, kOutputRows>>};
  }
  return {1, &run_pixels<Dot, Unroll<kColumns, kStride, 1, kRows, kOutputRows>>};
}

template <class Dot, int kColumns, int kRows>
RunFunction widest_run(int64_t stride, int64_t left, int64_t rows) {
  if (stride == 2) return widest_run<Dot, kColumns, 2, kRows, 1>(left);
  return rows == 2 ? widest_run<Dot, kColumns, 1, kRows, 2>(left)
                   : widest_run<Dot, kColumns, 1, kRows, 1>(left);
}

// Whether the loops are unrolled for this kernel.
inline bool is_unrolled(const ConvShape& s, int64_t wide_channels) {
  return HWY_TARGET != HWY_SCALAR && wide_channels >= 16 && s.dilation_w == 1 && s.stride_w <= 2 &&
         ((s.kernel_w == 3 && s.kernel_h == 3) || s.kernel_w == 5);
}

// `rows` output rows, at most the weights' output_rows.
template <class Dot>
RunFunction run_function(const PackedDepthwiseS8& weights, int64_t left, int64_t rows) {
  const ConvShape& s = weights.shape;
  if (!is_unrolled(s, weights.wide_channels())) {
    return {1, &run_pixels<Dot, Unroll<0, 1, 1, 0, 1>>};
  }
  if (weights.fold > 1) left = 1;  // windows of folded pixels have no columns in common
  return s.kernel_w == 3 ? widest_run<Dot, 3, 3>(s.stride_w, left, rows)
                         : widest_run<Dot, 5, 0>(s.stride_w, left, rows);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
