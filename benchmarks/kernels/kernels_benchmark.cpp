#include <benchmark/benchmark.h>
#include <time.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "engine/isa.h"
#include "engine/kernels/conv.h"
#include "engine/kernels/elementwise.h"
#include "engine/kernels/gemm_f32.h"
#include "engine/kernels/gemm_u8s8.h"
#include "engine/kernels/normalize.h"
#include "engine/kernels/quantized.h"

// Kernels on the layer shapes of real networks. The counter is operations per second (a multiply
// and an add are two) of thread CPU time, so that other work on the machine does not count; with
// OUNCE_THREADS=n, of wall-clock time.
namespace ounce::engine {
namespace {

template <class T>
AlignedVector<T> random_values(int64_t count) {
  std::mt19937 generator(7);
  AlignedVector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = static_cast<T>(static_cast<int>(generator() % 251) - 125);
  return values;
}

ThreadPool& pool() {
  static ThreadPool threads(std::getenv("OUNCE_THREADS") ? std::atoi(std::getenv("OUNCE_THREADS"))
                                                         : 1);
  return threads;
}

double seconds() {
  timespec t;
  clock_gettime(pool().size() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Reports the fastest of the iterations: what the kernel does when nobody disturbs it.
template <class Run>
void measure(benchmark::State& state, double operations, const Run& run) {
  double best = 1e30;
  for (auto _ : state) {
    const double start = seconds();
    run();
    const double elapsed = seconds() - start;
    state.SetIterationTime(elapsed);
    best = std::min(best, elapsed);
  }
  state.counters["G/s"] = operations / best * 1e-9;
  state.counters["us"] = best * 1e6;
}

struct Quantized {
  explicit Quantized(int64_t outputs, int64_t columns, int64_t k)
      : c(static_cast<size_t>(outputs)),
        scale(static_cast<size_t>(columns), 0.005F / std::sqrt(static_cast<float>(k))) {
    e.output = IntegerOutput::kU8;
    e.c = c.data();
    e.ldc = columns;
    e.scale = scale.data();
    e.zero_point = 128;
  }
  AlignedVector<uint8_t> c;
  std::vector<float> scale;
  IntegerEpilogue e;
};

void gemm_f32_benchmark(benchmark::State& state, int64_t m, int64_t k, int64_t n) {
  const auto a = random_values<float>(m * k);
  const auto bias = random_values<float>(n);
  const PackedF32 b = pack_f32(random_values<float>(k * n).data(), k, n, WeightLayout::kNxK);
  AlignedVector<float> c(static_cast<size_t>(m * n));
  std::vector<std::byte> scratch(gemm_f32_scratch_bytes(m, n, k, pool().size()));
  Epilogue e;
  e.bias = bias.data();
  measure(state, 2.0 * static_cast<double>(m * k * n), [&] {
    gemm_f32({pool(), scratch}, a.data(), k, b, c.data(), n, m, e);
  });
}

void gemm_u8s8_benchmark(benchmark::State& state, int64_t m, int64_t k, int64_t n) {
  const auto a = random_values<uint8_t>(m * k);
  const PackedS8 b =
      pack_s8(random_values<int8_t>(k * n).data(), k, n, WeightLayout::kNxK, 100, nullptr);
  std::vector<std::byte> scratch(gemm_u8s8_scratch_bytes(m, n, k, pool().size()));
  const Quantized out(m * n, n, k);
  measure(state, 2.0 * static_cast<double>(m * k * n), [&] {
    gemm_u8s8({pool(), scratch}, a.data(), k, b, m, out.e);
  });
}

struct Image {
  int64_t size, in, out, kernel, stride, groups;
  ConvShape shape() const {
    ConvShape s;
    s.in_h = s.in_w = size;
    s.in_channels = in;
    s.out_channels = out;
    s.kernel_h = s.kernel_w = kernel;
    s.stride_h = s.stride_w = stride;
    s.pad_top = s.pad_left = kernel / 2;
    s.out_h = s.out_w = (size + 2 * (kernel / 2) - kernel) / stride + 1;
    s.groups = groups;
    return s;
  }
};

double operations(const ConvShape& s) {
  return 2.0 * static_cast<double>(s.out_pixels() * s.out_channels * s.taps() * s.group_in());
}

void conv_f32_benchmark(benchmark::State& state, const Image& image) {
  const ConvShape s = image.shape();
  const auto input = random_values<float>(s.in_h * s.in_w * s.in_channels);
  const auto weights = random_values<float>(s.out_channels * s.taps() * s.group_in());
  const auto bias = random_values<float>(s.out_channels);
  AlignedVector<float> output(static_cast<size_t>(s.out_pixels() * s.out_channels));
  Epilogue e;
  e.bias = bias.data();
  e.activation = {Activation::kRelu};
  if (s.groups > 1) {
    const PackedDepthwiseF32 packed = pack_depthwise_f32(weights.data(), s);
    std::vector<std::byte> scratch(depthwise_f32_scratch_bytes(s, pool().size()));
    return measure(state, operations(s), [&] {
      depthwise_f32({pool(), scratch}, input.data(), packed, s, output.data(), s.out_channels, e);
    });
  }
  const PackedConvF32 packed = pack_conv_f32(weights.data(), s);
  std::vector<std::byte> scratch(conv_f32_scratch_bytes(s, pool().size()));
  measure(state, operations(s), [&] {
    conv_f32({pool(), scratch}, input.data(), packed, s, output.data(), s.out_channels, e);
  });
}

// `size`: of the input; the output is `stride` times as large.
void conv_transpose_f32_benchmark(benchmark::State& state, const Image& image) {
  ConvShape s = image.shape();
  s.pad_top = s.pad_left = (image.kernel - image.stride) / 2;
  s.out_h = s.out_w = image.size * image.stride;
  const auto input = random_values<float>(s.in_h * s.in_w * s.in_channels);
  const auto weights = random_values<float>(s.out_channels * s.taps() * s.group_in());
  const auto bias = random_values<float>(s.out_channels);
  AlignedVector<float> output(static_cast<size_t>(s.out_pixels() * s.out_channels));
  const PackedConvTransposeF32 packed = pack_conv_transpose_f32(weights.data(), bias.data(), s);
  std::vector<std::byte> scratch(conv_transpose_f32_scratch_bytes(packed, pool().size()));
  const double products = static_cast<double>(s.in_h * s.in_w * s.taps());
  measure(state, 2.0 * products * static_cast<double>(s.in_channels * s.group_out()), [&] {
    conv_transpose_f32({pool(), scratch}, input.data(), packed, output.data(), {});
  });
}

void conv_u8s8_benchmark(benchmark::State& state, const Image& image) {
  const ConvShape s = image.shape();
  const auto input = random_values<uint8_t>(s.in_h * s.in_w * s.in_channels);
  const auto weights = random_values<int8_t>(s.out_channels * s.taps() * s.group_in());
  const Quantized out(s.out_pixels() * s.out_channels, s.out_channels, s.taps() * s.group_in());
  if (s.groups > 1) {
    const PackedDepthwiseS8 packed = pack_depthwise_s8(weights.data(), s, 100, nullptr);
    std::vector<std::byte> scratch(depthwise_u8s8_scratch_bytes(s, pool().size()));
    return measure(state, operations(s), [&] {
      depthwise_u8s8({pool(), scratch}, input.data(), packed, s, out.e);
    });
  }
  const PackedConvS8 packed = pack_conv_s8(weights.data(), s, 100, nullptr);
  std::vector<std::byte> scratch(conv_u8s8_scratch_bytes(s, pool().size()));
  measure(state, operations(s), [&] {
    conv_u8s8({pool(), scratch}, input.data(), packed, s, out.e);
  });
}

// Attention of one image of DeiT-S: 6 heads of 64, 197 tokens.
constexpr int64_t kHeads = 6, kTokens = 197, kHead = 64;

void attention_f32_benchmark(benchmark::State& state, bool scores) {
  const auto qkv = random_values<float>(kTokens * 3 * kHeads * kHead);
  AlignedVector<float> map = random_values<float>(kHeads * kTokens * kTokens);
  std::vector<float> out(static_cast<size_t>(kTokens * kHeads * kHead));
  const int64_t row = 3 * kHeads * kHead;
  const MatmulF32Shape shape =
      scores
          ? MatmulF32Shape{kTokens, kTokens, kHead, row, row, kTokens, WeightLayout::kNxK, 0.125F}
          : MatmulF32Shape{
                kTokens, kHead, kTokens, kTokens, row, kHeads * kHead, WeightLayout::kKxN, 1.0F};
  std::vector<MatmulF32Item> items;
  for (int64_t h = 0; h < kHeads; ++h) {
    float* m = map.data() + h * kTokens * kTokens;
    const float* part = qkv.data() + h * kHead;
    items.push_back(scores ? MatmulF32Item{part, part + kHeads * kHead, m}
                           : MatmulF32Item{m, part + 2 * kHeads * kHead, out.data() + h * kHead});
  }
  std::vector<std::byte> scratch(matmul_f32_scratch_bytes(shape, kHeads, pool().size()));
  measure(state, 2.0 * kHeads * kTokens * kTokens * kHead, [&] {
    matmul_f32({pool(), scratch}, items, shape, {});
  });
}

void attention_u8_benchmark(benchmark::State& state, bool scores) {
  const auto qkv = random_values<uint8_t>(kTokens * 3 * kHeads * kHead);
  AlignedVector<uint8_t> map = random_values<uint8_t>(kHeads * kTokens * kTokens);
  std::vector<float> values(static_cast<size_t>(kHeads * kTokens * kTokens));
  Quantized out(kTokens * kHeads * kHead, kHeads * kHead, kTokens);
  const std::vector<float> scale(kTokens, 1e-4F);
  const int64_t row = 3 * kHeads * kHead;
  MatmulU8Shape shape = {kTokens, kTokens, kHead, row, row, WeightLayout::kNxK, 120, 130};
  IntegerEpilogue e;
  e.output = IntegerOutput::kF32;
  e.ldc = kTokens;
  e.scale = scale.data();
  if (!scores) {
    shape = {kTokens, kHead, kTokens, kTokens, row, WeightLayout::kKxN, 0, 130};
    e = out.e;
  }
  std::vector<MatmulU8Item> items;
  for (int64_t h = 0; h < kHeads; ++h) {
    const uint8_t* part = qkv.data() + h * kHead;
    const int64_t at = h * kTokens * kTokens;
    items.push_back(scores ? MatmulU8Item{part, part + kHeads * kHead, values.data() + at}
                           : MatmulU8Item{map.data() + at, part + 2 * kHeads * kHead,
                                          out.c.data() + h * kHead});
  }
  std::vector<std::byte> scratch(matmul_u8_scratch_bytes(shape, kHeads, pool().size()));
  measure(state, 2.0 * kHeads * kTokens * kTokens * kHead, [&] {
    matmul_u8({pool(), scratch}, items, shape, e);
  });
}

// Elements per second of the kernels between the products.
void activation_benchmark(benchmark::State& state, Activation kind) {
  const int64_t count = 197 * 1536;
  auto x = random_values<float>(count);
  for (float& value : x) value *= 0.03F;
  std::vector<float> y(x.size());
  measure(state, static_cast<double>(count), [&] {
    activate_f32({pool(), {}}, x.data(), y.data(), count, {kind});
  });
}

void softmax_benchmark(benchmark::State& state) {
  const int64_t rows = kHeads * kTokens;
  const auto x = random_values<float>(rows * kTokens);
  std::vector<float> y(x.size());
  measure(state, static_cast<double>(rows * kTokens), [&] {
    softmax_f32({pool(), {}}, x.data(), y.data(), {rows, kTokens, kTokens, kTokens});
  });
}

void layer_norm_benchmark(benchmark::State& state) {
  const auto x = random_values<float>(kTokens * 384);
  std::vector<float> y(x.size());
  measure(state, static_cast<double>(kTokens * 384), [&] {
    layer_norm_f32({pool(), {}}, x.data(), y.data(), kTokens, 384, x.data(), x.data(), 1e-6F);
  });
}

void quantize_benchmark(benchmark::State& state) {
  const int64_t count = 224 * 224 * 3;
  const auto x = random_values<float>(count);
  std::vector<uint8_t> q(x.size());
  measure(state, static_cast<double>(count), [&] {
    quantize_u8({pool(), {}}, x.data(), q.data(), count, 0.9F, 120);
  });
}

void lookup_benchmark(benchmark::State& state) {
  const int64_t count = 197 * 1536;
  const auto x = random_values<uint8_t>(count);
  std::vector<uint8_t> y(x.size());
  measure(state, static_cast<double>(count), [&] {
    lookup_u8({pool(), {}}, x.data(), y.data(), count, x.data());
  });
}

void add_benchmark(benchmark::State& state) {
  const int64_t count = 56 * 56 * 64;
  const auto x = random_values<uint8_t>(count);
  std::vector<uint8_t> y(x.size());
  const AddU8 add = add_parameters(0.5F, 3, 0.6F, 4, 1.0F, 5);
  measure(state, static_cast<double>(count), [&] {
    add_u8({pool(), {}}, x.data(), x.data(), y.data(), count, add);
  });
}

template <class... Arguments>
void add(const std::string& name, Arguments... arguments) {
  benchmark::RegisterBenchmark(name.c_str(), arguments...)
      ->UseManualTime()
      ->MinTime(0.05)
      ->Unit(benchmark::kMicrosecond);
}

void register_all() {
  const int64_t products[][3] = {
      {197, 384, 1152}, {197, 384, 384},   {197, 384, 1536}, {197, 1536, 384}, {12544, 16, 96},
      {3136, 24, 144},  {784, 144, 32},    {196, 384, 64},   {196, 96, 576},   {49, 960, 160},
      {49, 320, 1280},  {784, 512, 128},   {196, 1024, 256}, {49, 2048, 512},  {128, 4096, 1024},
      {1, 1280, 1000},  {1024, 1024, 1024}};
  for (const auto& p : products) {
    const std::string shape =
        std::to_string(p[0]) + "x" + std::to_string(p[1]) + "x" + std::to_string(p[2]);
    add("gemm_f32/" + shape, gemm_f32_benchmark, p[0], p[1], p[2]);
    add("gemm_u8s8/" + shape, gemm_u8s8_benchmark, p[0], p[1], p[2]);
  }
  const Image images[] = {
      {224, 3, 64, 7, 2, 1},     {56, 64, 64, 3, 1, 1},     {56, 64, 128, 3, 2, 1},
      {28, 128, 128, 3, 1, 1},   {14, 256, 256, 3, 1, 1},   {7, 512, 512, 3, 1, 1},
      {56, 64, 128, 1, 2, 1},    {14, 256, 512, 1, 2, 1},   {224, 3, 32, 3, 2, 1},
      {112, 32, 16, 1, 1, 1},    {112, 32, 32, 3, 1, 32},   {112, 96, 96, 3, 2, 96},
      {56, 144, 144, 3, 1, 144}, {56, 144, 144, 3, 2, 144}, {28, 192, 192, 3, 1, 192},
      {14, 384, 384, 3, 1, 384}, {14, 576, 576, 3, 2, 576}, {7, 960, 960, 3, 1, 960},
      {28, 240, 240, 5, 1, 240}};
  std::vector<Image> all(std::begin(images), std::end(images));
  for (const int64_t c : {8, 16, 24, 32, 48, 96}) {
    for (const int64_t kernel : {3, 5}) {
      for (const int64_t size : {160, 56, 28}) all.push_back({size, c, c, kernel, 1, c});
    }
    all.push_back({160, c, c, 3, 2, c});
  }
  for (const Image& i : all) {
    const std::string shape = std::to_string(i.size) + "/" + std::to_string(i.in) + "-" +
                              std::to_string(i.out) + "/k" + std::to_string(i.kernel) + "s" +
                              std::to_string(i.stride) + (i.groups > 1 ? "/depthwise" : "");
    add("conv_f32/" + shape, conv_f32_benchmark, i);
    add("conv_u8s8/" + shape, conv_u8s8_benchmark, i);
  }
  const Image transposed[] = {
      {80, 24, 24, 2, 2, 1}, {160, 24, 1, 2, 2, 1}, {28, 256, 128, 2, 2, 1}, {56, 64, 32, 4, 2, 1}};
  for (const Image& i : transposed) {
    add("conv_transpose_f32/" + std::to_string(i.size) + "/" + std::to_string(i.in) + "-" +
            std::to_string(i.out) + "/k" + std::to_string(i.kernel) + "s" +
            std::to_string(i.stride),
        conv_transpose_f32_benchmark, i);
  }
  add("attention_f32/scores", attention_f32_benchmark, true);
  add("attention_f32/values", attention_f32_benchmark, false);
  add("attention_u8/scores", attention_u8_benchmark, true);
  add("attention_u8/values", attention_u8_benchmark, false);
  add("gelu_erf", activation_benchmark, Activation::kGeluErf);
  add("silu", activation_benchmark, Activation::kSilu);
  add("softmax", softmax_benchmark);
  add("layer_norm", layer_norm_benchmark);
  add("quantize_u8", quantize_benchmark);
  add("lookup_u8", lookup_benchmark);
  add("add_u8", add_benchmark);
}

}  // namespace
}  // namespace ounce::engine

int main(int argc, char** argv) {
  ounce::engine::register_all();
  benchmark::AddCustomContext("isa", std::string(isa_name(ounce::engine::current_isa())));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
