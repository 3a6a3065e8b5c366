#include "train/per_channel.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <vector>

// GCC does not vectorize comparisons that might raise a floating-point exception.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math")
#endif

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kChunk = 16384;  // elements; fixed, so that sums depend on no thread count
constexpr int64_t kLanes = 16;     // running sums of a run: packed, and with less rounding

constexpr int64_t kShortestRow = 256;  // elements; below, starting a row costs more than them

/// Elements in the order of memory: runs of a channel's neighbours, or rows of a place's channels.
/// Rows of few channels are joined: `columns` is a multiple of the channels.
struct Layout {
  int64_t channels;
  int64_t columns;
  int64_t run = 1;

  explicit Layout(const at::Tensor& x) : channels(x.size(1)), columns(channels) {
    if (x.dim() > 2 && x.is_contiguous()) run = x.numel() / (x.size(0) * channels);
    if (run == 1) columns *= (kShortestRow + channels - 1) / channels;
  }

  /// `values` [channels] for each column.
  std::vector<float> columns_of(const at::Tensor& values) const {
    const at::Tensor dense = values.contiguous();
    const auto* first = dense.data_ptr<float>();
    std::vector<float> result(static_cast<size_t>(columns));
    for (int64_t i = 0; i < columns; ++i) result[static_cast<size_t>(i)] = first[i % channels];
    return result;
  }
};

bool is_dense(const at::Tensor& x) {
  return x.is_contiguous() || (x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast));
}

/// `body(i, c)` for element i, of column c.
template <class Body>
void for_each_element(const at::Tensor& x, const Layout& layout, const Body& body) {
  const int64_t size = layout.run == 1 ? layout.columns : layout.run;
  const int64_t pieces = (x.numel() + size - 1) / size;
  at::parallel_for(0, pieces, std::max<int64_t>(1, kChunk / size), [&](int64_t from, int64_t to) {
    for (int64_t piece = from; piece < to; ++piece) {
      const int64_t first = piece * size;
      if (layout.run == 1) {
        const int64_t count = std::min(size, x.numel() - first);
        for (int64_t c = 0; c < count; ++c) body(first + c, c);
      } else {
        const int64_t c = piece % layout.channels;
        for (int64_t i = first; i < first + size; ++i) body(i, c);
      }
    }
  });
}

/// Sums of `term(i, c)`, a float, in runs.
template <class Term>
std::vector<double> sums_of_runs(const at::Tensor& x, const Layout& layout, const Term& term) {
  const int64_t runs = x.numel() / layout.run;
  std::vector<double> partial(static_cast<size_t>(runs));
  const int64_t grain = std::max<int64_t>(1, kChunk / layout.run);
  at::parallel_for(0, runs, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t c = r % layout.channels;
      const int64_t first = r * layout.run;
      const int64_t packed = layout.run / kLanes * kLanes;
      std::array<float, kLanes> lanes = {};
      for (int64_t i = 0; i < packed; i += kLanes) {
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          lanes[static_cast<size_t>(lane)] += term(first + i + lane, c);
        }
      }
      double sum = 0.0;
      for (const float lane : lanes) sum += lane;
      for (int64_t i = packed; i < layout.run; ++i) sum += term(first + i, c);
      partial[static_cast<size_t>(r)] = sum;
    }
  });
  return partial;
}

/// The same in rows, summed by column and chunk.
template <class Term>
std::vector<float> sums_of_rows(const at::Tensor& x, const Layout& layout, const Term& term) {
  const int64_t size = std::max<int64_t>(1, kChunk / layout.columns) * layout.columns;
  const int64_t chunks = (x.numel() + size - 1) / size;
  std::vector<float> partial(static_cast<size_t>(chunks * layout.columns));
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      float* __restrict to = partial.data() + chunk * layout.columns;
      const int64_t last = std::min(x.numel(), (chunk + 1) * size);
      for (int64_t first = chunk * size; first < last; first += layout.columns) {
        const int64_t count = std::min(layout.columns, last - first);
        for (int64_t c = 0; c < count; ++c) to[c] += term(first + c, c);
      }
    }
  });
  return partial;
}

/// [channels]: the sum of `term(i, c)` over the elements of each channel.
template <class Term>
at::Tensor sums_of_channels(const at::Tensor& x, const Layout& layout, const Term& term) {
  std::vector<double> sums(static_cast<size_t>(layout.channels));
  const auto fold = [&](const auto& partial) {
    for (size_t i = 0; i < partial.size(); ++i) sums[i % sums.size()] += partial[i];
  };
  if (layout.run == 1) {
    fold(sums_of_rows(x, layout, term));
  } else {
    fold(sums_of_runs(x, layout, term));
  }
  at::Tensor result = at::empty({layout.channels}, x.options());
  std::transform(sums.begin(), sums.end(), result.data_ptr<float>(),
                 [](double sum) { return static_cast<float>(sum); });
  return result;
}

/// `gradient` in the layout of `x`.
at::Tensor paired(const at::Tensor& gradient, const at::Tensor& x) {
  return gradient.strides() == x.strides() ? gradient : at::empty_like(x).copy_(gradient);
}

class Shift : public torch::autograd::Function<Shift> {
 public:
  static at::Tensor forward(AutogradContext* /*context*/, const at::Tensor& x,
                            const at::Tensor& shift) {
    const Layout layout(x);
    const std::vector<float> shifts = layout.columns_of(shift);
    at::Tensor result = at::empty_like(x);
    for_each_element(
        x, layout,
        [from = x.data_ptr<float>(), by = shifts.data(), to = result.data_ptr<float>()](
            int64_t i, int64_t c) { to[i] = from[i] + by[c]; });
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (!context->needs_input_grad(1)) return {gradients[0], {}};
    const at::Tensor above = is_dense(gradients[0]) ? gradients[0] : gradients[0].contiguous();
    const auto* g = above.data_ptr<float>();
    return {gradients[0],
            sums_of_channels(above, Layout(above), [g](int64_t i, int64_t) { return g[i]; })};
  }
};

class PRelu : public torch::autograd::Function<PRelu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& slope) {
    context->save_for_backward({x, slope});
    const Layout layout(x);
    const std::vector<float> slopes = layout.columns_of(slope);
    at::Tensor result = at::empty_like(x);
    for_each_element(x, layout,
                     [from = x.data_ptr<float>(), by = slopes.data(),
                      to = result.data_ptr<float>()](int64_t i, int64_t c) {
                       const float below = by[c];
                       to[i] = from[i] * (from[i] > 0.0F ? 1.0F : below);
                     });
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor above = paired(gradients[0], x);
    const Layout layout(x);
    const std::vector<float> slopes = layout.columns_of(saved[1]);
    at::Tensor result = at::empty_like(x);
    const at::Tensor of_slopes =
        sums_of_channels(x, layout,
                         [from = x.data_ptr<float>(), g = above.data_ptr<float>(),
                          by = slopes.data(), to = result.data_ptr<float>()](int64_t i, int64_t c) {
                           const float value = from[i];
                           const float below = by[c];
                           to[i] = g[i] * (value > 0.0F ? 1.0F : below);
                           return g[i] * (value > 0.0F ? 0.0F : value);
                         });
    return {result, of_slopes};
  }
};

}  // namespace

std::optional<at::Tensor> channel_values(const at::Tensor& x, const at::Tensor& operand) {
  const auto fits = [](const at::Tensor& t) { return t.is_cpu() && t.scalar_type() == at::kFloat; };
  if (!fits(x) || !fits(operand) || x.dim() < 3 || x.numel() == 0 || !is_dense(x)) return {};
  const int64_t axis = operand.dim() - (x.dim() - 1);  // of the operand: 0, or 1 behind a 1
  if ((axis != 0 && axis != 1) || operand.size(axis) != x.size(1) || operand.numel() != x.size(1)) {
    return {};
  }
  return operand.reshape({-1});
}

at::Tensor shift_channels(const at::Tensor& x, const at::Tensor& shift) {
  return Shift::apply(x, shift);
}

at::Tensor prelu_channels(const at::Tensor& x, const at::Tensor& slope) {
  return PRelu::apply(x, slope);
}

}  // namespace ounce::train
