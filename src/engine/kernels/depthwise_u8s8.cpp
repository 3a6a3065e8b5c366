#include <cstring>
#include <utility>

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

#if HWY_TARGET != HWY_SCALAR

void pack_depthwise(const int8_t* hwc, const int32_t* bias, PackedDepthwiseS8& packed) {
  const ConvShape& s = packed.shape;
  const int64_t groups = ceil_div(s.kernel_h, 4);
  for_pieces(s.in_channels, [&](const Piece& piece) {
    const auto weight = [&](int64_t row, int64_t column, int64_t channel) -> int8_t {
      if (row >= s.kernel_h || channel >= piece.valid) return 0;
      return hwc[(row * s.kernel_w + column) * s.in_channels + piece.start + channel];
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
      const bool exists = bias != nullptr && channel < piece.valid;
      packed.column_sums.push_back(sum);
      packed.offsets.push_back((exists ? bias[piece.start + channel] : 0) -
                               packed.a_zero_point * sum);
    }
  });
}

#else

// One channel at a time needs no order but the given one.
void pack_depthwise(const int8_t* hwc, const int32_t* bias, PackedDepthwiseS8& packed) {
  const ConvShape& s = packed.shape;
  packed.data.assign(hwc, hwc + s.taps() * s.in_channels);
  for (int64_t c = 0; c < s.in_channels; ++c) {
    int32_t sum = 0;
    for (int64_t tap = 0; tap < s.taps(); ++tap) sum += hwc[tap * s.in_channels + c];
    packed.column_sums.push_back(sum);
    packed.offsets.push_back((bias != nullptr ? bias[c] : 0) - packed.a_zero_point * sum);
  }
}

#endif

// Some neighbouring output pixels, all channels.
struct PixelRun {
  // [groups * 4] first pixel of the window in every image row (rows beyond the kernel: any pixels);
  // neighbouring columns are `column_step` bytes apart.
  const uint8_t* const* rows;
  int64_t column_step;
  const PackedDepthwiseS8* weights;
  const float* scales;  // in the order of the weights, or null
  const IntegerEpilogue* epilogue;
  int64_t groups;
  int64_t pixel;  // index of the first output pixel
};

// How a kernel's loops are unrolled. columns == 0: any kernel, one output pixel; no image column is
// used twice then.
template <int columns, int stride, int pixels, int rows>
struct Unroll {
  static constexpr int kColumns = columns;
  static constexpr int kStride = stride;
  static constexpr int kPixels = pixels;
  static constexpr int kRows = rows;  // kernel rows, or 0 for any
  static constexpr int kImageColumns = (pixels - 1) * stride + columns;
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
  if (HWY_UNLIKELY(piece.valid < piece.bytes)) return load_part(d, p, piece.valid);
  return hn::LoadU(d, p + piece.start);
}

// One image column of one group of kernel rows. Rows beyond the kernel have zero weights.
template <class U, class DB>
HWY_INLINE void load_column(DB d, const uint8_t* const* rows, int64_t offset, const Piece& piece,
                            Sums<DB> (&out)[4]) {
  if constexpr (U::kRows == 3) {
    const auto r2 = hn::LoadU(d, rows[2] + offset + piece.start);
    interleave_rows(d, hn::LoadU(d, rows[0] + offset + piece.start),
                    hn::LoadU(d, rows[1] + offset + piece.start), r2, r2, out);
  } else if constexpr (U::kColumns != 0) {
    interleave_rows(d, hn::LoadU(d, rows[0] + offset + piece.start),
                    hn::LoadU(d, rows[1] + offset + piece.start),
                    hn::LoadU(d, rows[2] + offset + piece.start),
                    hn::LoadU(d, rows[3] + offset + piece.start), out);
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
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const auto* w = reinterpret_cast<const uint8_t*>(weights + v * kBytes);
    acc[v] = Dot::dot(acc[v], Dot::prepare_a(taps[v]),
                      Dot::prepare_b(hn::BitCast(d32, hn::LoadU(d, w))));
  }
}

// Kernel column kTap, if there is one, for one output pixel.
template <class Dot, class U, int kTap, class DB>
HWY_INLINE void add_tap_at(DB d, const Sums<DB> (&taps)[4], const int8_t* weights,
                           Sums<DB> (&acc)[4]) {
  if constexpr (kTap >= 0 && kTap < U::kColumns) {
    add_tap<Dot>(d, taps, weights + kTap * 4 * static_cast<int64_t>(hn::MaxLanes(DB())), acc);
  }
}

// Image column kColumn for all output pixels whose windows contain it.
template <class Dot, class U, int kColumn, class DB, int... kPixel>
HWY_INLINE void add_column(DB d, const PixelRun& run, int64_t group, const Piece& piece,
                           const int8_t* weights, Sums<DB> (&acc)[U::kPixels][4],
                           std::integer_sequence<int, kPixel...>) {
  Sums<DB> taps[4];
  load_column<U>(d, run.rows + group * 4, kColumn * run.column_step, piece, taps);
  (add_tap_at<Dot, U, kColumn - kPixel * U::kStride>(d, taps, weights, acc[kPixel]), ...);
}

template <class Dot, class U, class DB, int... kColumn>
HWY_INLINE void add_columns(DB d, const PixelRun& run, int64_t group, const Piece& piece,
                            const int8_t* weights, Sums<DB> (&acc)[U::kPixels][4],
                            std::integer_sequence<int, kColumn...>) {
  (add_column<Dot, U, kColumn>(d, run, group, piece, weights, acc,
                               std::make_integer_sequence<int, U::kPixels>()),
   ...);
}

template <class Dot, class U, class DB>
HWY_INLINE void accumulate_columns(DB d, const PixelRun& run, const Piece& piece,
                                   const int8_t* weights, Sums<DB> (&acc)[U::kPixels][4]) {
  constexpr int64_t kBytes = static_cast<int64_t>(hn::MaxLanes(DB()));
  if constexpr (U::kColumns != 0 && U::kRows != 0) {
    add_columns<Dot, U>(d, run, 0, piece, weights, acc,
                        std::make_integer_sequence<int, U::kImageColumns>());
  } else if constexpr (U::kColumns != 0) {
    for (int64_t g = 0; g < run.groups; ++g, weights += U::kColumns * 4 * kBytes) {
      add_columns<Dot, U>(d, run, g, piece, weights, acc,
                          std::make_integer_sequence<int, U::kImageColumns>());
    }
  } else {
    const int64_t columns = run.weights->shape.kernel_w;
    for (int64_t i = 0; i < run.groups * columns; ++i, weights += 4 * kBytes) {
      Sums<DB> taps[4];
      load_column<U>(d, run.rows + i / columns * 4, i % columns * run.column_step, piece, taps);
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
HWY_INLINE void store_codes_of_pixel(DB d, const Sums<DB> (&sums)[4], const PixelRun& run,
                                     const Piece& piece, const float* scales,
                                     const CodeLimits<DB>& limits, int64_t pixel) {
  const hn::Repartition<float, DB> df;
  const IntegerEpilogue& e = *run.epilogue;
  Sums<DB> residual[4] = {sums[0], sums[1], sums[2], sums[3]};
  if constexpr (kResidual) {
    const auto none = hn::Zero(d);
    const uint8_t* p = e.residual + pixel * e.residual_stride;
    interleave_rows(d, load_channels(d, p, piece), none, none, none, residual);
  }
  Sums<DB> q[4];
#pragma GCC unroll 4
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

template <class Dot, class U, class DB>
HWY_INLINE void run_piece(DB d, const PixelRun& run, const Piece& piece, const int8_t* weights,
                          int64_t lane) {
  const hn::Repartition<int32_t, DB> d32;
  constexpr int64_t kStep = static_cast<int64_t>(hn::MaxLanes(hn::Repartition<int32_t, DB>()));
  Sums<DB> acc[U::kPixels][4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    auto start = hn::LoadU(d32, run.weights->offsets.data() + lane + v * kStep);
    if (Dot::kInputShift != 0) {
      const auto sums = hn::LoadU(d32, run.weights->column_sums.data() + lane + v * kStep);
      start = hn::Add(start, hn::Mul(sums, hn::Set(d32, Dot::kInputShift)));
    }
#pragma GCC unroll 8
    for (int t = 0; t < U::kPixels; ++t) acc[t][v] = start;
  }
  accumulate_columns<Dot, U>(d, run, piece, weights, acc);
  const float* scales = run.scales + lane;
  if (run.epilogue->output == IntegerOutput::kU8) {
    const CodeLimits<DB> limits(*run.epilogue);
    if (run.epilogue->residual == nullptr) {
#pragma GCC unroll 8
      for (int t = 0; t < U::kPixels; ++t) {
        store_codes_of_pixel<false>(d, acc[t], run, piece, scales, limits, run.pixel + t);
      }
    } else {
#pragma GCC unroll 8
      for (int t = 0; t < U::kPixels; ++t) {
        store_codes_of_pixel<true>(d, acc[t], run, piece, scales, limits, run.pixel + t);
      }
    }
    return;
  }
  alignas(64) int32_t sums[U::kPixels * kSumStride];
  for (int t = 0; t < U::kPixels; ++t) store_sums_of_pixel(d, acc[t], sums + t * kSumStride);
  // Columns of the epilogue are the channels that this piece stores.
  finish_sums({sums + piece.skip, U::kPixels, piece.valid - piece.skip, run.pixel,
               piece.start + piece.skip, nullptr},
              *run.epilogue);
}

template <class Dot, class U>
void run_pixels(const PixelRun& run) {
  const ConvShape& s = run.weights->shape;
  const int8_t* weights = run.weights->data.data();
  int64_t lane = 0;
  for_pieces(s.in_channels, [&](const Piece& piece) HWY_ATTR {
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
    weights += run.groups * s.kernel_w * 4 * piece.bytes;
    lane += piece.bytes;
  });
  const IntegerEpilogue& e = *run.epilogue;
  if (e.output != IntegerOutput::kU8 || e.table == nullptr) return;
  for (int64_t t = 0; t < U::kPixels; ++t) {
    uint8_t* c = static_cast<uint8_t*>(e.c) + (run.pixel + t) * e.ldc;
    lookup_bytes(c, c, s.in_channels, e.table);
  }
}

#else  // HWY_SCALAR

template <class Dot, class U>
void run_pixels(const PixelRun& run) {
  const ConvShape& s = run.weights->shape;
  for (int64_t t = 0; t < U::kPixels; ++t) {
    for (int64_t c = 0; c < s.in_channels; ++c) {
      int32_t sum = run.weights->offsets[static_cast<size_t>(c)];
      for (int64_t tap = 0; tap < s.taps(); ++tap) {
        const int64_t column = tap % s.kernel_w + t * U::kStride;
        const int32_t code = run.rows[tap / s.kernel_w][column * run.column_step + c];
        sum += code * run.weights->data[static_cast<size_t>(tap * s.in_channels + c)];
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

// The widest run of a kernel shape for `left` output pixels still to do.
template <class Dot, int kColumns, int kStride, int kRows>
RunFunction widest_run(int64_t left) {
  if (left >= kRunPixels) {
    return {kRunPixels, &run_pixels<Dot, Unroll<kColumns, kStride, kRunPixels, kRows>>};
  }
  if (left >= 2) return {2, &run_pixels<Dot, Unroll<kColumns, kStride, 2, kRows>>};
  return {1, &run_pixels<Dot, Unroll<kColumns, kStride, 1, kRows>>};
}

template <class Dot>
RunFunction run_function(const ConvShape& s, int64_t left) {
  if (s.dilation_w == 1 && s.in_channels >= 16 && s.stride_w <= 2) {
    const bool one = s.stride_w == 1;
    if (s.kernel_w == 3 && s.kernel_h == 3) {
      return one ? widest_run<Dot, 3, 1, 3>(left) : widest_run<Dot, 3, 2, 3>(left);
    }
    if (s.kernel_w == 5) {
      return one ? widest_run<Dot, 5, 1, 0>(left) : widest_run<Dot, 5, 2, 0>(left);
    }
  }
  return {1, &run_pixels<Dot, Unroll<0, 1, 1, 0>>};
}

struct RowJob {
  const uint8_t* input;
  const PackedDepthwiseS8* weights;
  const float* scales;
  const IntegerEpilogue* epilogue;
};

// What a thread needs: row pointers, and the pixels of a run that reaches beyond the image.
struct RowScratch {
  const uint8_t** rows;
  uint8_t* strip;
};

// Copies the pixels under a run's windows, with padding outside the image:
// [rows][columns][channels].
inline void copy_strip(const RowJob& job, const ConvShape& s, int64_t image, int64_t top,
                       int64_t left, int64_t columns, const RowScratch& scratch) {
  const auto channels = static_cast<size_t>(s.in_channels);
  uint8_t* out = scratch.strip;
  for (int64_t i = 0; i < s.kernel_h; ++i) {
    scratch.rows[i] = out;
    const int64_t y = top + i * s.dilation_h;
    for (int64_t c = 0; c < columns; ++c, out += channels) {
      const int64_t x = left + c * s.dilation_w;
      if (y >= 0 && y < s.in_h && x >= 0 && x < s.in_w) {
        std::memcpy(out, job.input + ((image * s.in_h + y) * s.in_w + x) * s.in_channels, channels);
      } else {
        std::memset(out, job.weights->a_zero_point, channels);
      }
    }
  }
}

// One row of output pixels.
template <class Dot>
void depthwise_row(const RowJob& job, const ConvShape& s, int64_t row, const RowScratch& scratch) {
  const int64_t groups = ceil_div(s.kernel_h, 4);
  const int64_t image = row / s.out_h;
  const int64_t top = row % s.out_h * s.stride_h - s.pad_top;
  const bool rows_inside = top >= 0 && top + (s.kernel_h - 1) * s.dilation_h < s.in_h;
  for (int64_t x = 0; x < s.out_w;) {
    const RunFunction function = run_function<Dot>(s, s.out_w - x);
    const int64_t columns = (function.pixels - 1) * s.stride_w + s.kernel_w;
    const int64_t left = x * s.stride_w - s.pad_left;
    int64_t column_step = s.in_channels;
    if (rows_inside && left >= 0 && left + (columns - 1) * s.dilation_w < s.in_w) {
      column_step *= s.dilation_w;
      const uint8_t* first = job.input + ((image * s.in_h + top) * s.in_w + left) * s.in_channels;
      for (int64_t i = 0; i < s.kernel_h; ++i) {
        scratch.rows[i] = first + i * s.dilation_h * s.in_w * s.in_channels;
      }
    } else {
      copy_strip(job, s, image, top, left, columns, scratch);
    }
    for (int64_t i = s.kernel_h; i < groups * 4; ++i) scratch.rows[i] = scratch.rows[0];
    function.run({scratch.rows, column_step, job.weights, job.scales, job.epilogue, groups,
                  row * s.out_w + x});
    x += function.pixels;
  }
}

template <class Dot>
void depthwise(const Context& context, const uint8_t* input, const PackedDepthwiseS8& weights,
               const ConvShape& s, const IntegerEpilogue& epilogue) {
  const int threads = context.pool.size();
  const DepthwiseScratch sizes(s);
  ScratchCursor cursor(context.scratch);
  float* scales = cursor.take<float>(sizes.scales);
  const uint8_t** rows = cursor.take<const uint8_t*>(sizes.rows * threads);
  uint8_t* strips = cursor.take<uint8_t>(sizes.strip * threads);
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
  const RowJob job = {input, &weights, scales, &epilogue};
  context.pool.parallel_for(s.batch * s.out_h, [&](int64_t row, int thread) {
    depthwise_row<Dot>(job, s, row, {rows + thread * sizes.rows, strips + thread * sizes.strip});
  });
}

void run_depthwise_u8s8(const Context& context, const uint8_t* input,
                        const PackedDepthwiseS8& weights, const ConvShape& s,
                        const IntegerEpilogue& epilogue) {
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
  packed.level = dispatch_index();
  OUNCE_DISPATCH(pack_depthwise)(hwc, bias, packed);
  return packed;
}

void depthwise_u8s8(const Context& context, const uint8_t* input, const PackedDepthwiseS8& weights,
                    const ConvShape& shape, const IntegerEpilogue& epilogue) {
  (*run_depthwise_u8s8_table[weights.level])(context, input, weights, shape, epilogue);
}

size_t depthwise_u8s8_scratch_bytes(const ConvShape& shape, int threads) {
  const DepthwiseScratch sizes(shape);
  return ScratchCursor::need<float>(sizes.scales) +
         ScratchCursor::need<const uint8_t*>(sizes.rows * threads) +
         ScratchCursor::need<uint8_t>(sizes.strip * threads);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
