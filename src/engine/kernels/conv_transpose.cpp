#include <algorithm>
#include <optional>

#include "engine/kernels/blocking/conv_rows.h"
#include "engine/kernels/blocking/implicit_gemm.h"
#include "engine/kernels/conv.h"

// No sums are scattered: an output row knows which input rows and taps reach it, and so do its
// columns that are a stride apart. They are the rows of one product, written with their epilogue
// where they belong.
namespace ounce::engine {
namespace {

// What one axis of a phase reads: output first + t * stride gets input t - pad + k * dilation for
// its kth tap.
struct AxisPhase {
  std::vector<int64_t> taps;  // kernel positions, those of later input first
  int64_t count = 0;          // output positions
  int64_t pad = 0;
  int64_t dilation = 1;
};

struct Axis {
  int64_t in, out, kernel, stride, dilation, pad;
};

AxisPhase axis_phase(const Axis& axis, int64_t first) {
  AxisPhase phase;
  phase.count = ceil_div(axis.out - first, axis.stride);
  for (int64_t i = axis.kernel - 1; i >= 0; --i) {
    if ((first + axis.pad - i * axis.dilation) % axis.stride == 0) phase.taps.push_back(i);
  }
  if (phase.taps.empty()) {
    // One tap that lies beyond the image wherever it is.
    phase.pad = phase.count;
    return phase;
  }
  phase.pad = -((first + axis.pad - phase.taps[0] * axis.dilation) / axis.stride);
  if (phase.taps.size() > 1) {
    phase.dilation = (phase.taps[0] - phase.taps[1]) * axis.dilation / axis.stride;
  }
  return phase;
}

int64_t taps_or_one(const AxisPhase& phase) {
  return std::max<int64_t>(static_cast<int64_t>(phase.taps.size()), 1);
}

// Windows that neither overlap nor leave gaps along a row: the columns of a pixel's window are then
// neighbours in the output, hence columns of one product.
bool is_tiled(const ConvShape& s) {
  return s.groups == 1 && s.kernel_w == s.stride_w && s.dilation_w == 1 && s.pad_left == 0 &&
         s.out_w == s.in_w * s.stride_w;
}

// Packed weights of a phase, one matrix a group: [columns][taps of y][taps of x][channels]. A tiled
// row has its taps in the columns. Without taps, zeros for the one beyond the image.
std::vector<PackedF32> phase_weights(const float* weights, const ConvShape& s, const AxisPhase& y,
                                     const AxisPhase& x, bool tiled) {
  const int64_t side_by_side = tiled ? s.kernel_w : 1;
  const bool empty = y.taps.empty() || x.taps.empty();
  const int64_t k = empty ? s.group_in() : taps_or_one(y) * taps_or_one(x) * s.group_in();
  std::vector<PackedF32> packed;
  for (int64_t group = 0; group < s.groups; ++group) {
    std::vector<float> matrix;
    const auto append = [&](int64_t out, int64_t i, int64_t j) {
      for (int64_t c = 0; c < s.group_in(); ++c) {
        const int64_t filter = (group * s.group_in() + c) * s.group_out() + out;
        matrix.push_back(weights[(filter * s.kernel_h + i) * s.kernel_w + j]);
      }
    };
    for (int64_t n = 0; n < side_by_side * s.group_out() && !empty; ++n) {
      for (const int64_t i : y.taps) {
        for (const int64_t j : x.taps) append(n % s.group_out(), i, j + n / s.group_out());
      }
    }
    matrix.resize(static_cast<size_t>(k * side_by_side * s.group_out()), 0.0F);
    packed.push_back(pack_f32(matrix.data(), k, side_by_side * s.group_out(), WeightLayout::kNxK));
  }
  return packed;
}

// A phase as a convolution that makes one row; see multiply_row for its pad_top.
ConvShape phase_window(const ConvShape& s, const AxisPhase& y, const AxisPhase& x, bool empty) {
  ConvShape w;
  w.in_h = s.in_h;
  w.in_w = s.in_w;
  w.in_channels = s.in_channels;
  w.out_w = x.count;
  w.out_channels = s.out_channels;
  w.kernel_h = empty ? 1 : taps_or_one(y);
  w.kernel_w = empty ? 1 : taps_or_one(x);
  w.dilation_h = y.dilation;
  w.dilation_w = x.dilation;
  w.pad_top = y.pad;
  w.pad_left = x.pad;
  w.groups = s.groups;
  return w;
}

// One output row of a phase.
struct RowPlace {
  int64_t image, y;
};

void multiply_row(const Context& context, const float* input, const float* padding,
                  const PackedConvTransposeF32& weights, const PackedConvTransposeF32::Phase& phase,
                  const RowPlace& place, float* output, const Epilogue& epilogue) {
  const ConvShape& s = weights.shape;
  const int64_t pixel = (place.image * s.out_h + place.y) * s.out_w + phase.first_x;
  ConvShape window = phase.window;
  window.pad_top -= (place.y - phase.first_y) / s.stride_h;
  const float* image = input + place.image * s.in_h * s.in_w * s.in_channels;
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t first = group * s.group_out();
    Epilogue e = epilogue;
    e.bias = weights.bias.data() + first;
    if (e.residual != nullptr) e.residual += pixel * s.out_channels + first;
    e.residual_stride = s.stride_w * s.out_channels;
    const PackedF32& b = weights.matrices[phase.matrices][static_cast<size_t>(group)];
    implicit_gemm_f32(context, ConvRows<float>(image + group * s.group_in(), padding, window),
                      {b.data.data(), b.n}, output + pixel * s.out_channels + first,
                      s.stride_w * s.out_channels, e);
  }
}

bool row_per_thread(const ConvShape& s, int threads) {
  return threads == 1 || s.batch * s.out_h >= 2 * threads;
}

size_t gemm_bytes(const PackedConvTransposeF32& weights, int threads) {
  int64_t taps = 1;
  for (const auto& phase : weights.phases) taps = std::max(taps, phase.window.taps());
  return implicit_gemm_scratch_bytes(taps, threads);
}

}  // namespace

PackedConvTransposeF32 pack_conv_transpose_f32(const float* weights, const float* bias,
                                               const ConvShape& shape) {
  const ConvShape& s = shape;
  PackedConvTransposeF32 packed;
  packed.shape = s;
  const bool tiled = is_tiled(s);
  const int64_t side_by_side = tiled ? s.kernel_w : 1;
  for (int64_t i = 0; i < side_by_side * s.out_channels; ++i) {
    packed.bias.push_back(bias == nullptr ? 0.0F : bias[i % s.out_channels]);
  }
  const Axis rows = {s.in_h, s.out_h, s.kernel_h, s.stride_h, s.dilation_h, s.pad_top};
  const Axis columns = {s.in_w, s.out_w, s.kernel_w, s.stride_w, s.dilation_w, s.pad_left};
  std::optional<size_t> zeros;  // phases without taps share their matrices
  for (int64_t first_y = 0; first_y < std::min(s.stride_h, s.out_h); ++first_y) {
    const AxisPhase y = axis_phase(rows, first_y);
    for (int64_t first_x = 0; first_x < (tiled ? 1 : std::min(s.stride_w, s.out_w)); ++first_x) {
      const AxisPhase x = axis_phase(columns, first_x);
      const bool empty = y.taps.empty() || x.taps.empty();
      if (!empty || !zeros) {
        if (empty) zeros = packed.matrices.size();
        packed.matrices.push_back(phase_weights(weights, s, y, x, tiled));
      }
      const size_t matrices = empty ? *zeros : packed.matrices.size() - 1;
      packed.phases.push_back({phase_window(s, y, x, empty), first_y, first_x, matrices});
    }
  }
  return packed;
}

void conv_transpose_f32(const Context& context, const float* input,
                        const PackedConvTransposeF32& weights, float* output,
                        const Epilogue& epilogue) {
  const ConvShape& s = weights.shape;
  const int threads = context.pool.size();
  ScratchCursor cursor(context.scratch);
  float* padding = cursor.take<float>(s.group_in());
  std::fill_n(padding, s.group_in(), 0.0F);
  const std::span<std::byte> rest = cursor.rest(context.scratch);
  const int64_t phases_x =
      static_cast<int64_t>(weights.phases.size()) / std::min(s.stride_h, s.out_h);
  const auto output_row = [&](const Context& own, int64_t row) {
    const RowPlace place = {row / s.out_h, row % s.out_h};
    const auto* phase = weights.phases.data() + place.y % s.stride_h * phases_x;
    for (int64_t x = 0; x < phases_x; ++x) {
      multiply_row(own, input, padding, weights, phase[x], place, output, epilogue);
    }
  };
  if (!row_per_thread(s, threads)) {
    for (int64_t row = 0; row < s.batch * s.out_h; ++row) output_row({context.pool, rest}, row);
    return;
  }
  const size_t bytes = gemm_bytes(weights, 1);
  context.pool.parallel_for(s.batch * s.out_h, [&](int64_t row, int thread) {
    ThreadPool alone(1);
    output_row({alone, rest.subspan(static_cast<size_t>(thread) * bytes, bytes)}, row);
  });
}

size_t conv_transpose_f32_scratch_bytes(const PackedConvTransposeF32& weights, int threads) {
  return ScratchCursor::need<float>(weights.shape.group_in()) +
         (row_per_thread(weights.shape, threads)
              ? gemm_bytes(weights, 1) * static_cast<size_t>(threads)
              : gemm_bytes(weights, threads));
}

}  // namespace ounce::engine
