#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

/// Loops over `x` [N, C, ...], f32 in the memory of a CPU, in whichever layout it lies (a channel's
/// values beside each other, or the channels of a place). libtorch's own operators pass over memory
/// more often, and sum some layouts in one running f32 number.
namespace ounce::train {

inline bool fits_channel_loops(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() >= 2 && x.numel() > 0 &&
         (x.is_contiguous() || (x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast)));
}

/// Elements in the order of memory: runs of a channel's neighbours, or rows of a place's channels.
/// Rows of few channels are joined: `columns` is a multiple of the channels.
struct ChannelLayout {
  int64_t channels;
  int64_t columns;
  int64_t run = 1;

  explicit ChannelLayout(const at::Tensor& x) : channels(x.size(1)), columns(channels) {
    constexpr int64_t kShortestRow = 256;  // below, starting a row costs more than its elements
    if (x.dim() > 2 && x.is_contiguous()) run = x.numel() / (x.size(0) * channels);
    if (run == 1) columns *= (kShortestRow + channels - 1) / channels;
  }

  /// `values` [channels] in f32, for each column.
  std::vector<float> columns_of(const at::Tensor& values) const {
    const at::Tensor dense = values.detach().to(at::kFloat).contiguous();
    const auto* first = dense.data_ptr<float>();
    std::vector<float> result(static_cast<size_t>(columns));
    for (int64_t i = 0; i < columns; ++i) result[static_cast<size_t>(i)] = first[i % channels];
    return result;
  }
};

namespace channel_loops {

constexpr int64_t kChunk = 16384;  // elements; fixed, so that sums depend on no thread count
constexpr int64_t kLanes = 16;     // running sums of a run: packed, and with less rounding

template <size_t N>
using Terms = std::array<float, N>;

/// A partial sum [N] of each run, one after the other.
template <size_t N, class Term>
std::vector<double> sums_of_runs(const at::Tensor& x, const ChannelLayout& layout,
                                 const Term& term) {
  const int64_t runs = x.numel() / layout.run;
  std::vector<double> partial(static_cast<size_t>(runs) * N);
  const int64_t grain = std::max<int64_t>(1, kChunk / layout.run);
  at::parallel_for(0, runs, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t c = r % layout.channels;
      const int64_t first = r * layout.run;
      const int64_t packed = layout.run / kLanes * kLanes;
      float lanes[N][kLanes] = {};
      for (int64_t i = 0; i < packed; i += kLanes) {
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          const Terms<N> terms = term(first + i + lane, c);
          for (size_t n = 0; n < N; ++n) lanes[n][lane] += terms[n];
        }
      }
      double* sums = partial.data() + static_cast<size_t>(r) * N;
      for (size_t n = 0; n < N; ++n) {
        for (const float lane : lanes[n]) sums[n] += lane;
      }
      for (int64_t i = packed; i < layout.run; ++i) {
        const Terms<N> terms = term(first + i, c);
        for (size_t n = 0; n < N; ++n) sums[n] += terms[n];
      }
    }
  });
  return partial;
}

/// A partial sum [N, columns] of each chunk of rows.
template <size_t N, class Term>
std::vector<float> sums_of_rows(const at::Tensor& x, const ChannelLayout& layout,
                                const Term& term) {
  const int64_t columns = layout.columns;
  const int64_t size = std::max<int64_t>(1, kChunk / columns) * columns;
  const int64_t chunks = (x.numel() + size - 1) / size;
  std::vector<float> partial(static_cast<size_t>(chunks * columns) * N);
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      float* __restrict to = partial.data() + chunk * columns * static_cast<int64_t>(N);
      const int64_t last = std::min(x.numel(), (chunk + 1) * size);
      for (int64_t first = chunk * size; first < last; first += columns) {
        const int64_t count = std::min(columns, last - first);
        for (int64_t c = 0; c < count; ++c) {
          const Terms<N> terms = term(first + c, c);
          for (size_t n = 0; n < N; ++n) to[static_cast<int64_t>(n) * columns + c] += terms[n];
        }
      }
    }
  });
  return partial;
}

}  // namespace channel_loops

/// `body(i, column)` for each element i; a column's number stands in `ChannelLayout::columns_of`.
template <class Body>
void for_each_element(const at::Tensor& x, const ChannelLayout& layout, const Body& body) {
  const int64_t size = layout.run == 1 ? layout.columns : layout.run;
  const int64_t pieces = (x.numel() + size - 1) / size;
  const int64_t grain = std::max<int64_t>(1, channel_loops::kChunk / size);
  at::parallel_for(0, pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
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

/// f64 [N, C]: the sums of `term(i, column)`, an std::array<float, N>, over each channel.
template <size_t N, class Term>
at::Tensor sums_of_channels(const at::Tensor& x, const ChannelLayout& layout, const Term& term) {
  const auto channels = static_cast<size_t>(layout.channels);
  at::Tensor result = at::zeros({static_cast<int64_t>(N), layout.channels}, at::kDouble);
  auto* sums = result.data_ptr<double>();
  if (layout.run == 1) {
    const std::vector<float> partial = channel_loops::sums_of_rows<N>(x, layout, term);
    const auto columns = static_cast<size_t>(layout.columns);
    for (size_t i = 0; i < partial.size(); ++i) {
      sums[i / columns % N * channels + i % columns % channels] += partial[i];
    }
  } else {
    const std::vector<double> partial = channel_loops::sums_of_runs<N>(x, layout, term);
    for (size_t i = 0; i < partial.size(); ++i) {
      sums[i % N * channels + i / N % channels] += partial[i];
    }
  }
  return result;
}

}  // namespace ounce::train
