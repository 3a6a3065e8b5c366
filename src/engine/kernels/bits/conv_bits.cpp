#include "engine/kernels/bits/conv_bits.h"

#include <algorithm>

#include "engine/isa.h"
#include "engine/kernels/bits/implicit_bits.h"
#include "engine/kernels/bits/lookup_bits.h"
#include "engine/kernels/blocking/conv_rows.h"
#include "engine/kernels/blocking/implicit_gemm.h"

namespace ounce::engine {
namespace {

// The words of a pixel that the channels of a group lie in.
struct GroupWords {
  GroupWords(const ConvShape& s, int64_t group)
      : first(group * s.group_in() / 64), last(ceil_div((group + 1) * s.group_in(), 64)) {}
  int64_t first, last;
  int64_t first_channel() const { return first * 64; }
  int64_t channels(const ConvShape& s) const {
    return std::min(last * 64, s.in_channels) - first_channel();
  }
};

bool groups_fill_words(const ConvShape& s) {
  return s.groups == 1 || s.group_in() % 64 == 0;
}

// The format that weights of a group need whose words hold channels of its neighbours, too.
BitFormat format_with_zero(BitFormat format, BitFormat activations) {
  if (format.has_zero()) return format;
  return activations.coding == BitCoding::kSign ? kTernaryBits : BitFormat{BitCoding::kSigned, 2};
}

// Weights [taps][channels of the words] of one output channel; zeros beside the group's channels.
void spread_weights(const int8_t* weights, const ConvShape& s, int64_t group, int8_t* out) {
  const GroupWords words(s, group);
  const int64_t channels = words.channels(s);
  const int64_t skip = group * s.group_in() - words.first_channel();
  for (int64_t tap = 0; tap < s.taps(); ++tap) {
    std::copy_n(weights + tap * s.group_in(), s.group_in(), out + tap * channels + skip);
  }
}

PackedBits pack_group(const int8_t* ohwi, const ConvShape& s, int64_t group, BitFormat format,
                      const BitActivations& activations, const int32_t* bias) {
  if (groups_fill_words(s)) {
    return pack_bits(ohwi, s.taps(), s.group_in(), s.group_out(), WeightLayout::kNxK, format,
                     activations, bias);
  }
  const int64_t channels = GroupWords(s, group).channels(s);
  const int64_t taps = s.taps();
  std::vector<int8_t> spread(static_cast<size_t>(s.group_out() * taps * channels));
  for (int64_t o = 0; o < s.group_out(); ++o) {
    spread_weights(ohwi + o * taps * s.group_in(), s, group, spread.data() + o * taps * channels);
  }
  return pack_bits(spread.data(), taps, channels, s.group_out(), WeightLayout::kNxK,
                   format_with_zero(format, activations.format), activations, bias);
}

// The image as one of 64-bit words: channels are words.
ConvShape in_words(const ConvShape& s, BitFormat format) {
  ConvShape words = s;
  words.in_channels = format.words(s.in_channels);
  words.out_channels = 1;
  words.groups = 1;
  return words;
}

bool is_matrix_product(const ConvShape& s) {
  return s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 &&
         s.in_h == s.out_h && s.in_w == s.out_w;
}

bool has_border(const ConvShape& s) {
  return s.pad_top > 0 || s.pad_left > 0 ||
         (s.out_h - 1) * s.stride_h - s.pad_top + (s.kernel_h - 1) * s.dilation_h >= s.in_h ||
         (s.out_w - 1) * s.stride_w - s.pad_left + (s.kernel_w - 1) * s.dilation_w >= s.in_w;
}

// Outputs of bits whose groups would not begin at whole words are made from complete rows of sums
// or floats afterwards.
bool bits_come_after(const ConvShape& s) {
  return s.groups > 1 && s.group_out() % 64 != 0;
}

// One pixel of padding: the zero point of every channel, or +1.
void fill_padding(const BitActivations& a, int64_t channels, uint64_t* words) {
  const int64_t plane = BitFormat::plane_words(channels);
  const int code = a.format.coding == BitCoding::kSign ? 0 : code_of_value(a.format, a.zero_point);
  for (int64_t w = 0; w < plane * a.format.planes; ++w) {
    const int64_t count = std::min<int64_t>(64, channels - w % plane * 64);
    const bool set = (code >> (w / plane) & 1) != 0;
    words[w] = set ? ~uint64_t{0} >> (64 - count) : 0;
  }
}

// Where bits are counted by an instruction, windows that are read whole leave less around it.
bool reads_windows(const ConvShape& s, BitFormat format, const BitActivations& activations) {
  return current_isa() == Isa::kAvx512Vnni && format == kSignBits &&
         activations.format == kSignBits && can_read_windows(s);
}

bool looks_up(const PackedConvBits& weights, const ConvShape& s) {
  return s.groups == 1 && uses_lookup(weights.groups[0], s.out_pixels());
}

// The product of a convolution of one group, by look-up: the image and a pixel of padding become
// offsets of tables once, whatever number of taps reads them.
void multiply_by_lookup(const Context& context, const RowSource<uint64_t>& rows,
                        const uint64_t* image, const uint64_t* padding, const PackedBits& packed,
                        const PanelsBits& b, const ConvShape& s, const IntegerEpilogue& e) {
  const int planes = packed.activations.format.planes;
  const int64_t length = planes * LookupLayout::offsets(packed.run);
  const int64_t pixels = s.batch * s.in_h * s.in_w;
  ScratchCursor cursor(context.scratch);
  auto* offsets = cursor.take<uint16_t>(pixels * length);
  auto* outside = cursor.take<uint16_t>(length);
  make_table_offsets(context, image, packed.activations.format.words(packed.run), pixels,
                     packed.run, planes, offsets);
  make_table_offsets(context, padding, 0, 1, packed.run, planes, outside);
  ConvShape wide = s;
  wide.in_channels = length;
  wide.out_channels = 1;
  implicit_gemm_lookup({context.pool, cursor.rest(context.scratch)}, rows,
                       ConvRows<uint16_t>(offsets, outside, wide), packed, b, outside, e);
}

void multiply_groups(const Context& context, const uint64_t* image, const PackedConvBits& weights,
                     const ConvShape& s, const IntegerEpilogue& epilogue) {
  const BitFormat format = weights.activations.format;
  const ConvShape words = in_words(s, format);
  ScratchCursor cursor(context.scratch);
  uint64_t* padding = cursor.take<uint64_t>(words.in_channels);
  fill_padding(weights.activations, s.in_channels, padding);
  const Context rest = {context.pool, cursor.rest(context.scratch)};
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t first = GroupWords(s, group).first;
    const PackedBits& packed = weights.groups[static_cast<size_t>(group)];
    PanelsBits b = panels_of(packed);
    b.a_plane = BitFormat::plane_words(s.in_channels);
    if (format.coding == BitCoding::kSign && has_border(s)) {
      b.padding = padding + first;
      b.tap_sums = packed.tap_sums.data();
    }
    const IntegerEpilogue e = epilogue_of_columns(epilogue, group * s.group_out());
    const ConvRows<uint64_t> pixels(image + first, padding + first, words);
    if (looks_up(weights, s)) {
      return multiply_by_lookup(rest, pixels, image, padding, packed, b, s, e);
    }
    if (is_matrix_product(s)) {
      const MatrixRows<uint64_t> rows(image + first, words.in_channels, s.out_pixels(),
                                      words.in_channels);
      implicit_gemm_bits(rest, rows, b, e);
    } else {
      implicit_gemm_bits(rest, pixels, b, e);
    }
  }
}

}  // namespace

PackedConvBits pack_conv_bits(const int8_t* ohwi, const ConvShape& shape, BitFormat format,
                              const BitActivations& activations, const int32_t* bias,
                              const ValueShift* shift) {
  PackedConvBits packed;
  packed.shape = shape;
  packed.format = format;
  packed.activations = activations;
  if (shift != nullptr || reads_windows(shape, format, activations)) {
    packed.windows = pack_sign_windows(ohwi, shape, bias);
    if (shift != nullptr) shift_values(*packed.windows, ohwi, *shift);
    return packed;
  }
  const int64_t weights = shape.group_out() * shape.taps() * shape.group_in();
  for (int64_t group = 0; group < shape.groups; ++group) {
    packed.groups.push_back(
        pack_group(ohwi + group * weights, shape, group, format, activations,
                   bias == nullptr ? nullptr : bias + group * shape.group_out()));
  }
  return packed;
}

void conv_bits(const Context& context, const uint64_t* image, const PackedConvBits& weights,
               const ConvShape& shape, const IntegerEpilogue& epilogue) {
  if (weights.windows) {
    return conv_sign_windows(context, image, *weights.windows, shape, epilogue);
  }
  const bool later = bits_come_after(shape);
  IntegerEpilogue e = epilogue;
  if (later && e.output == IntegerOutput::kBits) {
    ScratchCursor cursor(context.scratch);
    auto* sums = cursor.take<int32_t>(shape.out_pixels() * shape.out_channels);
    e.output = IntegerOutput::kI32;
    e.c = sums;
    e.ldc = shape.out_channels;
    multiply_groups({context.pool, cursor.rest(context.scratch)}, image, weights, shape, e);
    return threshold_rows(context, sums, shape.out_pixels(), shape.out_channels, epilogue);
  }
  if (!later || e.sign_bits == nullptr) return multiply_groups(context, image, weights, shape, e);
  e.sign_bits = nullptr;
  multiply_groups(context, image, weights, shape, e);
  pack_signs(context, static_cast<const float*>(e.c), e.ldc, shape.out_pixels(), shape.out_channels,
             e.sign_shift, epilogue.sign_stride, static_cast<uint64_t*>(epilogue.sign_bits));
}

int64_t packed_bytes(const PackedConvBits& packed) {
  const auto bytes = [](const auto& vector) {
    return static_cast<int64_t>(vector.size() * sizeof(vector[0]));
  };
  if (packed.windows) return bytes(packed.windows->weights);
  int64_t total = 0;
  for (const PackedBits& group : packed.groups) total += bytes(group.data);
  return total;
}

size_t conv_bits_scratch_bytes(const PackedConvBits& weights, const ConvShape& shape, int threads) {
  if (weights.windows) return sign_windows_scratch_bytes(shape, threads);
  const int64_t sums = bits_come_after(shape) ? shape.out_pixels() * shape.out_channels : 0;
  const int64_t offsets =
      shape.groups == 1 ? table_offsets_of_row(shape.in_channels, weights.activations.format.planes)
                        : 0;
  const int64_t pixels = shape.batch * shape.in_h * shape.in_w;
  return ScratchCursor::need<int32_t>(sums) + ScratchCursor::need<uint16_t>(pixels * offsets) +
         ScratchCursor::need<uint16_t>(offsets) +
         ScratchCursor::need<uint64_t>(weights.activations.format.words(shape.in_channels)) +
         implicit_gemm_bits_scratch_bytes(shape.out_pixels(), shape.taps(), threads);
}

}  // namespace ounce::engine
