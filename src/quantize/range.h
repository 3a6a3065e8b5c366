#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "quantize/affine.h"
#include "quantize/histogram.h"

namespace ounce::quantize {

/// How the ends of an activation range are chosen from the data.
enum class RangeRule {
  kMinMax,        // all of the data
  kPercentile,    // quantiles p and 1 - p
  kMse,           // both ends searched for the least squared error
  kSymmetricMse,  // one end searched, the grid symmetric about 0
  kKl,            // least divergence of the clipped distribution of |x| (TensorRT's calibrator)
  kUnilateral,    // lower end known, upper end searched (Q-YOLO's unilateral histogram)
};

/// "minmax", "percentile", "mse", "symmetric-mse", "kl", "uh".
std::string_view name_of(RangeRule rule);
std::optional<RangeRule> range_rule_from_name(std::string_view name);
/// Whether the rule looks for the range with the least squared error.
bool goes_by_squared_error(RangeRule rule);

/// The rule that is followed: the one number of a ternary grid is always searched.
RangeRule rule_of(RangeRule rule, bool ternary);

/// The least values of activation functions, as lower ends of ranges.
inline constexpr float kSiluLowerBound = -0.2785F;      // min is -0.2784645 at x = -1.2784645
inline constexpr float kGeluLowerBound = -0.17F;        // min is -0.1699712 at x = -0.7517916
inline constexpr float kHardSwishLowerBound = -0.375F;  // at x = -1.5
inline constexpr float kMishLowerBound = -0.3088F;      // min is -0.3088421 at x = -1.1924

/// Below which a tensor cannot fall, by construction of the graph.
struct LowerBound {
  float value = 0.0F;
  /// The bound is reached in practice (an activation function's minimum), so it is the lower end
  /// itself. Otherwise (a sum of bounded tensors) the data says how far down it really goes.
  bool tight = true;
  bool operator==(const LowerBound&) const = default;
};

/// A function of one value, element by element.
using Function = std::function<void(std::span<const float> in, std::span<float> out)>;

struct RangeRequest {
  RangeRule rule = RangeRule::kMse;
  int bits = 8;
  bool ternary = false;                   // levels -s, 0, s: s is searched, whatever the rule
  double percentile = 99.99;              // in percent, for kPercentile
  std::optional<LowerBound> lower_bound;  // for kUnilateral
  /// The searches try grids as they will run, with integer zero points. Without it they try the
  /// continuous grids of the analysis, whose lower end is exactly the one asked for.
  bool integer_zero_point = true;
  /// What every reader makes of the tensor, when all make the same: the searches then compare
  /// results of the function instead of its arguments. (What SiLU flattens need not be told apart.)
  Function behind;
};

/// What was seen of a tensor: all of it in equal bins, and, when a few outliers leave too few bins
/// for the bulk, the bulk once more in finer ones.
struct ObservedData {
  Histogram histogram;
  std::optional<Histogram> refined;  // over `refinement_window`
};

struct RangeChoice {
  QuantParams params;
  /// The chosen range spans so few bins that the search was blind: observe the data once more over
  /// `refinement_window` and choose again.
  bool starved = false;
};

/// The ends of a tensor's range by the rule. Ties between candidates go to the wider range.
/// Throws `Error` when nothing was observed.
Range choose_ends(const ObservedData& data, const RangeRequest& request);

/// The quantizer over `choose_ends`.
RangeChoice choose_range(const ObservedData& data, const RangeRequest& request);

/// [min, quantile 99.99 %], for two-sided rules also cut below at the 0.01 % quantile.
Range refinement_window(const Histogram& histogram, const RangeRequest& request);

/// Equally spaced levels low, low + step, ..., without the condition that 0 is one of them.
struct Levels {
  double low = 0.0;
  double step = 1.0;
  int count = 1;
};
Levels levels_of(const QuantParams& params);
/// 2^bits levels with the first and the last on the ends of `range`.
Levels levels_over(Range range, int bits);

/// Bins of the data as weighted points with running sums, so that the squared error of a quantizer
/// costs one step a level instead of one a bin.
class BinPoints {
 public:
  explicit BinPoints(const ObservedData& data, Function behind = {});

  /// sum_j h_j (Q(c_j) - c_j)^2 over bin centres c_j with counts h_j, or with f behind it,
  /// sum_j h_j (f(Q(c_j)) - f(c_j))^2. Mass outside the range clips to its ends and is charged.
  double squared_error(const Levels& levels) const;
  double total() const { return sum0_.back(); }
  /// The points as they are, for checking: centre and count.
  const std::vector<double>& centres() const { return centres_; }
  double count(size_t i) const { return counts_[i]; }

 private:
  void append(const Histogram& histogram, double above, double below);
  size_t first_at_or_above(double x) const;

  void add_up();

  Function behind_;
  std::vector<double> centres_;
  std::vector<double> counts_;
  std::vector<double> sum0_, sum1_, sum2_;  // [points + 1]: of h, h t, h t^2 for t = c or f(c)
  // The longest run of equally spaced points, for finding an index by arithmetic.
  size_t uniform_begin_ = 0, uniform_end_ = 0;
  double uniform_low_ = 0.0, uniform_width_ = 1.0;
};

/// First bin that the searches of kUnilateral, kSymmetricMse and kKl try as upper end.
inline constexpr int kFirstCandidateBin = 128;

}  // namespace ounce::quantize
