#include "engine/kernels/codes/packed_codes.h"

#include <cmath>
#include <string>

#include "graph/dtype.h"
#include "graph/error.h"

namespace ounce::engine {
namespace {

// Where the bits of one stored code are: `count` pieces of it.
struct Piece {
  int64_t vector;  // of the block
  int shift;       // of the piece in its byte
  int bits;
  int at;  // of the piece in the code
};
struct Place {
  Piece pieces[2];
  int count;
};

// The code of element 4 * word + i is in bytes 4 * column + i.
Place place_of(CodeFormat format, int64_t word) {
  const int bits = code_bits(format);
  const int t = static_cast<int>(word);
  if (bits != 3) return {{{0, bits * t, bits, 0}, {}}, 1};
  if (t < 6) return {{{t / 2, 3 * (t % 2), 3, 0}, {}}, 1};
  return {{{t - 6, 6, 2, 1}, {2, t, 1, 0}}, 2};
}

class BlockCodes {
 public:
  BlockCodes(CodeFormat format, int64_t word, int64_t byte)
      : place_(place_of(format, word)), byte_(byte) {}
  int32_t get(const uint8_t* block) const {
    int32_t stored = 0;
    for (int i = 0; i < place_.count; ++i) {
      const Piece& p = place_.pieces[i];
      stored |= ((block[p.vector * 64 + byte_] >> p.shift) & ((1 << p.bits) - 1)) << p.at;
    }
    return stored;
  }
  // The bits are clear before.
  void set(uint8_t* block, int32_t stored) const {
    for (int i = 0; i < place_.count; ++i) {
      const Piece& p = place_.pieces[i];
      const int32_t piece = (stored >> p.at) & ((1 << p.bits) - 1);
      block[p.vector * 64 + byte_] |= static_cast<uint8_t>(piece << p.shift);
    }
  }

 private:
  Place place_;
  int64_t byte_;
};

// Calls visit(place in its block, offset of the block, column, tap, element) for every code of the
// packed matrix; those beyond the matrix have column >= n or element >= run.
template <class Visit>
void for_codes(const PackedCodes& p, const Visit& visit) {
  const int64_t elements = PackedCodes::block_elements(p.format);
  const int64_t bytes = PackedCodes::block_bytes(p.format);
  std::vector<BlockCodes> places;
  for (int64_t i = 0; i < elements * kPanelColumns; ++i) {
    places.emplace_back(p.format, i / 4 % (elements / 4), i / elements * 4 + i % 4);
  }
  for (int64_t panel = 0; panel < p.panels(); ++panel) {
    for (int64_t tap = 0; tap < p.taps; ++tap) {
      int64_t offset = panel * p.panel_bytes() + tap * p.tap_bytes();
      for (int64_t first = 0; first < p.run; first += elements, offset += bytes) {
        for (int64_t i = 0; i < elements * kPanelColumns; ++i) {
          visit(places[static_cast<size_t>(i)], offset, panel * kPanelColumns + i / elements, tap,
                first + i % elements);
        }
      }
    }
  }
}

int32_t stored_of(CodeFormat format, int32_t code) {
  return (code - stored_offset(format)) / stored_factor(format);
}
int32_t code_of(CodeFormat format, int32_t stored) {
  return stored_factor(format) * stored + stored_offset(format);
}

[[noreturn]] void fail(const std::string& what, const std::string& remedy) {
  throw Error(what, "pack_codes", remedy);
}

void check_codes(CodeFormat format, const int8_t* codes, int64_t count, const char* what) {
  const int32_t lo = lowest_code(format);
  const int32_t hi = highest_code(format);
  for (int64_t i = 0; i < count; ++i) {
    const bool outside = codes[i] < lo || codes[i] > hi;
    if (outside || (format == CodeFormat::kSign && codes[i] == 0 && *what == 'c')) {
      fail(std::string(what) + " " + std::to_string(codes[i]) + " at " + std::to_string(i) +
               " does not fit " + std::to_string(code_bits(format)) + " bits",
           "codes from " + std::to_string(lo) + " to " + std::to_string(hi));
    }
  }
}

void check(const CodeMatrix& m) {
  if (m.taps < 1 || m.run < 1 || m.n < 1) {
    fail("a matrix of " + std::to_string(m.taps) + " x " + std::to_string(m.run) + " x " +
             std::to_string(m.n) + " is empty",
         "positive sizes");
  }
  if (m.group < 0 || m.group % 32 != 0) {
    fail("groups of " + std::to_string(m.group), "a multiple of 32");
  }
  if (m.group > 0 && m.taps > 1) fail("groups in a matrix of several taps", "scales of channels");
  check_codes(m.format, m.codes, m.taps * m.run * m.n, "code");
  if (m.zero_points != nullptr) {
    check_codes(m.format, m.zero_points, m.groups() * m.n, "zero point");
  }
}

// Element (group, column) of an array of groups in the matrix's layout.
int64_t group_index(const CodeMatrix& m, int64_t group, int64_t column) {
  return m.layout == WeightLayout::kKxN ? group * m.n + column : column * m.groups() + group;
}

int64_t code_index(const CodeMatrix& m, int64_t tap, int64_t element, int64_t column) {
  return m.layout == WeightLayout::kKxN ? (tap * m.run + element) * m.n + column
                                        : (column * m.taps + tap) * m.run + element;
}

// packed[panel][group][16] from [groups, n]; columns that do not exist become zero.
template <class T, class Get>
AlignedVector<T> by_panels(const CodeMatrix& m, const Get& get) {
  const int64_t groups = m.groups();
  const int64_t columns = round_up(m.n, kPanelColumns);
  AlignedVector<T> packed(static_cast<size_t>(columns * groups), T{0});
  for (int64_t column = 0; column < m.n; ++column) {
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t at = (column / kPanelColumns * groups + group) * kPanelColumns;
      packed[static_cast<size_t>(at + column % kPanelColumns)] = get(group_index(m, group, column));
    }
  }
  return packed;
}

void pack_scales(const CodeMatrix& m, ScaleStorage storage, PackedCodes& packed) {
  packed.scale_storage = storage;
  if (m.zero_points != nullptr) {
    packed.zero_points = by_panels<int8_t>(m, [&](int64_t i) { return m.zero_points[i]; });
  }
  if (m.scales == nullptr) return;
  if (storage == ScaleStorage::kF32) {
    packed.scales = by_panels<float>(m, [&](int64_t i) { return m.scales[i]; });
    return;
  }
  packed.half_scales = by_panels<uint16_t>(m, [&](int64_t i) {
    const uint16_t half = float_to_half(m.scales[i]);
    if (std::isinf(half_to_float(half)) && std::isfinite(m.scales[i])) {
      fail("scale " + std::to_string(m.scales[i]) + " does not fit binary16", "scales in f32");
    }
    return half;
  });
}

// The scale of a group as it is stored.
float stored_scale(const PackedCodes& p, int64_t group, int64_t column) {
  const int64_t panel = column / kPanelColumns;
  const auto at =
      static_cast<size_t>((panel * p.groups() + group) * kPanelColumns + column % kPanelColumns);
  if (!p.scales.empty()) return p.scales[at];
  return p.half_scales.empty() ? 1.0F : half_to_float(p.half_scales[at]);
}

int32_t stored_zero(const PackedCodes& p, int64_t group, int64_t column) {
  if (p.zero_points.empty()) return 0;
  const int64_t panel = column / kPanelColumns;
  return p.zero_points[static_cast<size_t>((panel * p.groups() + group) * kPanelColumns +
                                           column % kPanelColumns)];
}

void sum_columns(const CodeMatrix& m, const int32_t* bias, PackedCodes& packed) {
  const auto columns = static_cast<size_t>(round_up(m.n, kPanelColumns));
  packed.column_sums.assign(columns, 0);
  packed.offsets.assign(columns, 0);
  packed.weight_sums.assign(columns, 0.0F);
  const int64_t group_size = m.group == 0 ? m.run : m.group;
  for (int64_t column = 0; column < m.n; ++column) {
    int64_t all = 0;
    double weights = 0.0;
    for (int64_t group = 0; group < m.groups(); ++group) {
      const int64_t end = std::min(m.run, (group + 1) * group_size);
      int64_t sum =
          -int64_t{stored_zero(packed, group, column)} * m.taps * (end - group * group_size);
      for (int64_t tap = 0; tap < m.taps; ++tap) {
        for (int64_t k = group * group_size; k < end; ++k) {
          sum += m.codes[code_index(m, tap, k, column)];
        }
      }
      all += sum;
      weights += static_cast<double>(sum) * stored_scale(packed, group, column);
    }
    const auto at = static_cast<size_t>(column);
    packed.column_sums[at] = static_cast<int32_t>(all);
    packed.weight_sums[at] = static_cast<float>(weights);
    packed.offsets[at] =
        (bias == nullptr ? 0 : bias[column]) - packed.a_zero_point * packed.column_sums[at];
  }
}

}  // namespace

int64_t PackedCodes::block_elements(CodeFormat format) {
  return code_bits(format) == 3 ? 32 : 32 / code_bits(format);
}

int64_t PackedCodes::block_bytes(CodeFormat format) {
  return code_bits(format) == 3 ? 192 : 64;
}

int64_t PackedCodes::packed_bytes() const {
  return static_cast<int64_t>(data.size() + zero_points.size() + scales.size() * sizeof(float) +
                              half_scales.size() * sizeof(uint16_t));
}

PackedCodes pack_codes(const CodeMatrix& m, int32_t a_zero_point, const int32_t* bias,
                       ScaleStorage scales) {
  check(m);
  PackedCodes packed;
  packed.format = m.format;
  packed.taps = m.taps;
  packed.run = m.run;
  packed.n = m.n;
  packed.group = m.group;
  packed.a_zero_point = a_zero_point;
  packed.data.assign(static_cast<size_t>(packed.panels() * packed.panel_bytes()), 0);
  const int32_t filler = m.format == CodeFormat::kSign ? 1 : 0;
  const bool canonical = m.format == CodeFormat::kInt8;
  for_codes(packed, [&](const BlockCodes& place, int64_t offset, int64_t column, int64_t tap,
                        int64_t element) {
    const bool exists = column < m.n && element < m.run;
    const int32_t code = exists ? m.codes[code_index(m, tap, element, column)] : filler;
    place.set(packed.data.data() + offset, canonical ? code & 0xFF : stored_of(m.format, code));
  });
  pack_scales(m, scales, packed);
  sum_columns(m, bias, packed);
  return packed;
}

UnpackedCodes unpack_codes(const PackedCodes& p) {
  UnpackedCodes u;
  u.codes.resize(static_cast<size_t>(p.taps * p.run * p.n));
  const bool canonical = p.format == CodeFormat::kInt8;
  for_codes(p, [&](const BlockCodes& place, int64_t offset, int64_t column, int64_t tap,
                   int64_t element) {
    if (column >= p.n || element >= p.run) return;
    const int32_t stored = place.get(p.data.data() + offset);
    u.codes[static_cast<size_t>((column * p.taps + tap) * p.run + element)] =
        static_cast<int8_t>(canonical ? stored : code_of(p.format, stored));
  });
  for (int64_t column = 0; column < p.n; ++column) {
    for (int64_t group = 0; group < p.groups(); ++group) {
      if (!p.scales.empty() || !p.half_scales.empty()) {
        u.scales.push_back(stored_scale(p, group, column));
      }
      if (!p.zero_points.empty()) {
        u.zero_points.push_back(static_cast<int8_t>(stored_zero(p, group, column)));
      }
    }
  }
  return u;
}

}  // namespace ounce::engine
