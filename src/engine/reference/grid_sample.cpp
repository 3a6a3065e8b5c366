#include <algorithm>

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

enum class Sampling { nearest, linear, cubic };
enum class Padding { zeros, border, reflection };

struct Settings {
  Sampling mode = Sampling::linear;
  Padding padding = Padding::zeros;
  bool align_corners = false;

  explicit Settings(const AttributeMap& attributes)
      : align_corners(attributes.get_int("align_corners", 0) != 0) {
    const std::string name = attributes.get_string("mode", "linear");
    if (name == "nearest") {
      mode = Sampling::nearest;
    } else if (name == "cubic" || name == "bicubic") {
      mode = Sampling::cubic;
    } else if (name != "linear" && name != "bilinear") {
      fail("mode is '" + name + "'; nearest, linear or cubic wanted");
    }
    const std::string outside = attributes.get_string("padding_mode", "zeros");
    if (outside == "border") {
      padding = Padding::border;
    } else if (outside == "reflection") {
      padding = Padding::reflection;
    } else if (outside != "zeros") {
      fail("padding_mode is '" + outside + "'; zeros, border or reflection wanted");
    }
  }
};

/// x folded into [low, high] by reflection at the ends.
double reflect(double x, double low, double high) {
  const double span = high - low;
  if (span <= 0.0) return low;
  const double folded = std::fmod(std::abs(x - low), 2.0 * span);
  return low + (folded > span ? 2.0 * span - folded : folded);
}

/// The ends of an axis at which the grid's -1 and +1 stand.
struct Ends {
  double low, high;
};

Ends ends_of(const Settings& settings, int64_t extent) {
  const auto dim = static_cast<double>(extent);
  return settings.align_corners ? Ends{0.0, dim - 1.0} : Ends{-0.5, dim - 0.5};
}

/// An input index, -1 for a zero, and its weight.
struct Tap {
  int64_t index;
  double weight;
};

/// The input index that stands at integer position `at`.
int64_t padded_index(const Settings& settings, double at, int64_t extent) {
  const auto last = static_cast<double>(extent - 1);
  if (at >= 0.0 && at <= last) return static_cast<int64_t>(at);
  if (settings.padding == Padding::zeros) return -1;
  if (settings.padding == Padding::border) return at < 0.0 ? 0 : extent - 1;
  const Ends ends = ends_of(settings, extent);
  return static_cast<int64_t>(std::clamp(reflect(at, ends.low, ends.high), 0.0, last));
}

double cubic_weight(double distance) {
  constexpr double kA = -0.75;
  const double x = std::abs(distance);
  if (x <= 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1.0;
  return x < 2.0 ? ((x - 5.0) * x + 8.0) * x * kA - 4.0 * kA : 0.0;
}

/// Where grid coordinate `g` in [-1, 1] reads along one axis.
std::vector<Tap> taps_at(const Settings& settings, double g, int64_t extent) {
  if (!std::isfinite(g)) return {{settings.padding == Padding::zeros ? -1 : 0, 1.0}};
  const Ends ends = ends_of(settings, extent);
  double x = ends.low + (g + 1.0) / 2.0 * (ends.high - ends.low);
  if (settings.mode == Sampling::nearest) x = std::nearbyint(x);
  if (x < ends.low || x > ends.high) {
    if (settings.padding == Padding::border) {
      x = std::clamp(x, 0.0, static_cast<double>(extent - 1));
    } else if (settings.padding == Padding::reflection) {
      x = reflect(x, ends.low, ends.high);
    }
  }
  if (settings.mode == Sampling::nearest) {
    return {{padded_index(settings, std::nearbyint(x), extent), 1.0}};
  }
  const double base = std::floor(x);
  const int reach = settings.mode == Sampling::linear ? 0 : 1;
  std::vector<Tap> taps;
  for (int i = -reach; i <= 1 + reach; ++i) {
    const double distance = x - (base + i);
    const double weight =
        settings.mode == Sampling::linear ? 1.0 - std::abs(distance) : cubic_weight(distance);
    taps.push_back({padded_index(settings, base + i, extent), weight});
  }
  return taps;
}

/// Weighted sum over the product of the taps of all axes.
template <class T>
double interpolate(const T* plane, const std::vector<std::vector<Tap>>& taps,
                   const std::vector<int64_t>& strides, size_t axis = 0, int64_t offset = 0) {
  if (axis == taps.size()) return static_cast<double>(plane[offset]);
  double sum = 0.0;
  for (const Tap& tap : taps[axis]) {
    if (tap.index < 0) continue;
    sum += tap.weight *
           interpolate(plane, taps, strides, axis + 1, offset + tap.index * strides[axis]);
  }
  return sum;
}

/// x [batch, channels, spatial...] read at grid [batch, out spatial..., axes]; the grid's last
/// dimension counts axes from the innermost.
void grid_sample(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& grid = input(context, 1);
  const Settings settings(context.attributes());
  const size_t axes = x.shape().size() - 2;
  require(x.rank() >= 3 && grid.rank() == x.rank(), "input and grid differ in rank");
  require(grid.shape()[0] == x.shape()[0], "input and grid differ in batch");
  require(grid.shape().back() == static_cast<int64_t>(axes), "not one coordinate an axis");
  Shape shape = {x.shape()[0], x.shape()[1]};
  shape.insert(shape.end(), grid.shape().begin() + 1, grid.shape().end() - 1);
  Tensor& y = output(context, 0, x.dtype(), shape);
  if (y.size() == 0) return;
  const Shape spatial(x.shape().begin() + 2, x.shape().end());
  const std::vector<int64_t> strides = row_major_strides(spatial);
  const int64_t in_pixels = element_count(spatial);
  require(in_pixels > 0, "cannot sample an empty input");
  const int64_t out_pixels = y.size() / shape[0] / shape[1];
  const std::vector<float> coordinates = grid.to_f32();
  std::vector<std::vector<Tap>> taps(axes);
  with_number_type(x.dtype(), [&]<class T>(Type<T>) {
    T* to = mutable_elements<T>(y);
    for (int64_t point = 0; point < shape[0] * out_pixels; ++point) {
      for (size_t axis = 0; axis < axes; ++axis) {
        const size_t at = static_cast<size_t>(point) * axes + (axes - 1 - axis);
        taps[axis] = taps_at(settings, coordinates[at], spatial[axis]);
      }
      const int64_t n = point / out_pixels;
      for (int64_t c = n * shape[1]; c < (n + 1) * shape[1]; ++c) {
        const double value = interpolate(elements<T>(x) + c * in_pixels, taps, strides);
        to[c * out_pixels + point % out_pixels] = saturated<T>(value);
      }
    }
  });
}

constexpr OperatorEntry kEntries[] = {{"GridSample", widened<grid_sample>}};

}  // namespace

std::span<const OperatorEntry> grid_sample_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
