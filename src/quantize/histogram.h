#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "quantize/affine.h"

namespace ounce::quantize {

/// Smallest and largest element of a stream of tensors (the first calibration pass). Independent of
/// the order of the stream; two halves merged equal the whole.
class Extent {
 public:
  /// Throws `Error` naming `tensor_name` when a value is NaN or infinite.
  void add(std::span<const float> values, std::string_view tensor_name);
  void merge(const Extent& other);

  int64_t count() const { return count_; }
  /// [0, 0] before the first value.
  Range range() const { return count_ == 0 ? Range{} : Range{min_, max_}; }

 private:
  int64_t count_ = 0;
  float min_ = std::numeric_limits<float>::infinity();
  float max_ = -std::numeric_limits<float>::infinity();
};

/// Mean magnitude of a stream of tensors whose extent is known (the second pass). Sums are kept as
/// integers, 2^20 to the largest magnitude, so that the order does not matter to the last bit; they
/// hold 2^43 elements.
class MeanMagnitude {
 public:
  MeanMagnitude() = default;
  explicit MeanMagnitude(Range extent);

  void add(std::span<const float> values);
  /// 0 before the first value.
  float mean() const;

 private:
  double step_ = 0.0;
  int64_t steps_ = 0;
  int64_t count_ = 0;
};

/// Counts of a stream of tensors in equal bins over a signed interval (the second pass; the
/// interval comes from the first). Independent of order; additive.
class Histogram {
 public:
  static constexpr int kBins = 2048;

  Histogram() = default;
  /// An interval without width is one bin wide around its value.
  explicit Histogram(Range interval);
  /// From counts known already.
  Histogram(Range interval, std::vector<uint64_t> counts);

  /// Values outside the interval are counted apart (`below`, `above`).
  void add(std::span<const float> values);
  /// Throws `Error` when the intervals differ.
  void merge(const Histogram& other);

  Range interval() const { return interval_; }
  int bins() const { return static_cast<int>(counts_.size()); }
  double width() const { return width_; }
  double centre(int bin) const { return interval_.low + (bin + 0.5) * width_; }
  std::span<const uint64_t> counts() const { return counts_; }
  uint64_t below() const { return below_; }
  uint64_t above() const { return above_; }
  uint64_t total() const;

  /// The value below which a share `p` (0 .. 1) of the mass inside the interval lies, interpolated
  /// within its bin.
  double quantile(double p) const;

  bool operator==(const Histogram&) const = default;

 private:
  Range interval_;
  double width_ = 0.0;
  uint64_t below_ = 0;
  uint64_t above_ = 0;
  std::vector<uint64_t> counts_;
};

}  // namespace ounce::quantize
