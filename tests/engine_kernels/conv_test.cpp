#include "engine/kernels/reference/reference.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

struct Case {
  std::string name;
  ConvShape s;
};

ConvShape shape(int64_t size, int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad,
                int64_t groups = 1, int64_t dilation = 1) {
  ConvShape s;
  s.batch = 2;
  s.in_h = size;
  s.in_w = size + 2;
  s.in_channels = in;
  s.out_channels = out;
  s.kernel_h = s.kernel_w = kernel;
  s.stride_h = s.stride_w = stride;
  s.dilation_h = s.dilation_w = dilation;
  s.pad_top = s.pad_left = pad;
  s.groups = groups;
  const int64_t reach = dilation * (kernel - 1) + 1;
  s.out_h = (s.in_h + 2 * pad - reach) / stride + 1;
  s.out_w = (s.in_w + 2 * pad - reach) / stride + 1;
  return s;
}

std::vector<Case> dense_cases() {
  std::vector<Case> cases = {
      {"3x3", shape(7, 32, 40, 3, 1, 1)},
      {"3x3 stride 2", shape(9, 16, 33, 3, 2, 1)},
      {"3x3 dilated", shape(9, 20, 16, 3, 1, 2, 1, 2)},
      {"first layer 7x7 stride 2 of 3 channels", shape(15, 3, 64, 7, 2, 3)},
      {"first layer 3x3 stride 2 of 3 channels", shape(12, 3, 32, 3, 2, 1)},
      {"one channel, even kernel", shape(8, 1, 5, 4, 1, 1)},
      {"patches 4x4 stride 4", shape(12, 3, 24, 4, 4, 0)},
      {"1x1", shape(5, 24, 31, 1, 1, 0)},
      {"1x1 stride 2", shape(7, 17, 16, 1, 2, 0)},
      {"1x1 with padding", shape(4, 8, 16, 1, 1, 1)},
      {"two groups", shape(6, 12, 10, 3, 1, 1, 2)},
      {"many groups, odd channels", shape(5, 21, 14, 3, 1, 1, 7)},
      {"odd channels", shape(6, 19, 17, 3, 1, 1)},
  };
  Case asymmetric = {"asymmetric padding and strides", shape(8, 10, 18, 3, 1, 1)};
  asymmetric.s.pad_top = 0;
  asymmetric.s.pad_left = 2;
  asymmetric.s.stride_w = 2;
  asymmetric.s.out_h = 7;  // one row below the image
  asymmetric.s.out_w = 6;  // one column beyond it
  cases.push_back(asymmetric);
  Case asymmetric_rows = asymmetric;
  asymmetric_rows.name = "asymmetric padding, few channels";
  asymmetric_rows.s.in_channels = 3;
  cases.push_back(asymmetric_rows);
  Case cropped = {"negative padding", shape(9, 3, 8, 3, 1, 0)};
  cropped.s.pad_top = cropped.s.pad_left = -1;
  cropped.s.out_h -= 2;
  cropped.s.out_w -= 2;
  cases.push_back(cropped);
  Case line = {"1-D", shape(1, 6, 9, 1, 1, 0)};
  line.s.in_w = line.s.out_w = 50;
  line.s.kernel_w = 5;
  line.s.pad_left = 2;
  cases.push_back(line);
  return cases;
}

std::vector<Case> depthwise_cases() {
  std::vector<Case> cases;
  for (const int64_t channels : {1, 7, 16, 24, 32, 33, 64, 65, 96, 144}) {
    cases.push_back(
        {"3x3 of " + std::to_string(channels), shape(8, channels, channels, 3, 1, 1, channels)});
    cases.push_back({"3x3 stride 2 of " + std::to_string(channels),
                     shape(9, channels, channels, 3, 2, 1, channels)});
  }
  // Few channels, rows of pixels that do and do not fill the vectors; odd and even heights.
  for (const int64_t channels : {1, 2, 3, 4, 5, 8, 12, 16, 20, 24, 31, 40, 48, 56, 63}) {
    for (const int64_t size : {6, 19}) {
      const std::string name = std::to_string(channels) + " at " + std::to_string(size);
      cases.push_back({"3x3 of " + name, shape(size, channels, channels, 3, 1, 1, channels)});
      cases.push_back({"5x5 of " + name, shape(size, channels, channels, 5, 1, 2, channels)});
    }
  }
  cases.push_back({"7x7 of 8", shape(20, 8, 8, 7, 1, 3, 8)});
  cases.push_back({"4x4 of 8", shape(20, 8, 8, 4, 1, 1, 8)});
  cases.push_back({"cropped 3x3 of 8", shape(20, 8, 8, 3, 1, -1, 8)});
  for (const int64_t kernel : {3, 5}) {
    Case rows_apart = {"stride 2x1 of kernel " + std::to_string(kernel),
                       shape(9, 24, 24, kernel, 1, 1, 24)};
    rows_apart.s.stride_h = 2;
    rows_apart.s.out_h = (rows_apart.s.out_h + 1) / 2;
    cases.push_back(rows_apart);
    rows_apart.name = "row " + rows_apart.name;
    rows_apart.s.dilation_h = 2;
    rows_apart.s.stride_h = 1;
    rows_apart.s.pad_top = kernel - 1;
    rows_apart.s.out_h = rows_apart.s.in_h;
    cases.push_back(rows_apart);
  }
  cases.push_back({"5x5", shape(9, 40, 40, 5, 1, 2, 40)});
  cases.push_back({"5x5 stride 2", shape(11, 72, 72, 5, 2, 2, 72)});
  cases.push_back({"7x7", shape(9, 17, 17, 7, 1, 3, 17)});
  cases.push_back({"3x3 dilated", shape(9, 20, 20, 3, 1, 2, 20, 2)});
  cases.push_back({"no padding", shape(6, 48, 48, 3, 1, 0, 48)});
  cases.push_back({"kernel larger than the image", shape(3, 18, 18, 5, 1, 2, 18)});
  cases.push_back({"2x2", shape(6, 34, 34, 2, 2, 0, 34)});
  Case tall = {"1x5 and asymmetric padding", shape(6, 20, 20, 1, 1, 0, 20)};
  tall.s.kernel_w = 5;
  tall.s.pad_left = 3;
  tall.s.out_w = tall.s.in_w;
  cases.push_back(tall);
  return cases;
}

// Depthwise weights are [tap, channel]; the reference takes [channel, tap].
template <class T>
std::vector<T> channel_first(const std::vector<T>& hwc, const ConvShape& s) {
  std::vector<T> ohwi(hwc.size());
  for (int64_t tap = 0; tap < s.taps(); ++tap) {
    for (int64_t c = 0; c < s.in_channels; ++c) {
      ohwi[static_cast<size_t>(c * s.taps() + tap)] =
          hwc[static_cast<size_t>(tap * s.in_channels + c)];
    }
  }
  return ohwi;
}

struct FloatData {
  FloatData(const ConvShape& s, size_t turn, Random& random)
      : input(random.floats(s.batch * s.in_h * s.in_w * s.in_channels)),
        weights(random.floats(s.out_channels * s.taps() * s.group_in())),
        bias(random.floats(s.out_channels)),
        residual(random.floats(s.out_pixels() * s.out_channels)),
        ldc(s.out_channels + static_cast<int64_t>(turn % 2) * 3) {
    e.bias = bias.data();
    if (turn % 2 == 0) e.residual = residual.data();
    e.residual_stride = s.out_channels;
    if (turn % 3 == 0) e.activation = {Activation::kRelu};
    if (turn % 3 == 1) e.activation = {Activation::kSilu};
  }
  std::vector<float> input, weights, bias, residual;
  int64_t ldc;
  Epilogue e;
};

template <class Convolve>
void check_f32(const Case& test, const FloatData& data, const std::vector<float>& ohwi,
               const Convolve& convolve) {
  const ConvShape& s = test.s;
  std::vector<float> expected(static_cast<size_t>(s.out_pixels() * data.ldc), 7.0F);
  reference::conv_f32(data.input.data(), ohwi.data(), s, expected.data(), data.ldc, data.e);
  const int64_t terms = s.taps() * s.group_in() + 8;
  const auto tolerance = sum_tolerance({1.2F * static_cast<float>(terms)}, terms);
  on_every_isa([&](ThreadPool& pool) {
    std::vector<float> output(expected.size(), 7.0F);
    convolve(pool, output.data());
    expect_close(expected, output, tolerance, 2e-6F, test.name);
  });
}

TEST(ConvF32, EqualsReference) {
  Random random(11);
  size_t turn = 0;
  for (const Case& test : dense_cases()) {
    SCOPED_TRACE(test.name + ", seed 11");
    const FloatData data(test.s, turn++, random);
    const PackedConvF32 packed = pack_conv_f32(data.weights.data(), test.s);
    check_f32(test, data, data.weights, [&](ThreadPool& pool, float* output) {
      Scratch scratch(conv_f32_scratch_bytes(test.s, pool.size()));
      conv_f32({pool, scratch.span()}, data.input.data(), packed, test.s, output, data.ldc, data.e);
    });
    if (HasFailure()) return;
  }
}

TEST(DepthwiseF32, EqualsReference) {
  Random random(12);
  size_t turn = 0;
  for (const Case& test : depthwise_cases()) {
    SCOPED_TRACE(test.name + ", seed 12");
    const FloatData data(test.s, turn++, random);
    const PackedDepthwiseF32 packed = pack_depthwise_f32(data.weights.data(), test.s);
    check_f32(test, data, channel_first(data.weights, test.s),
              [&](ThreadPool& pool, float* output) {
                Scratch scratch(depthwise_f32_scratch_bytes(test.s, pool.size()));
                depthwise_f32({pool, scratch.span()}, data.input.data(), packed, test.s, output,
                              data.ldc, data.e);
              });
    if (HasFailure()) return;
  }
}

// Geometry of a transposed convolution: the output of `shape` is its input.
ConvShape transposed(int64_t size, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                     int64_t pad, int64_t groups = 1, int64_t dilation = 1) {
  ConvShape s = shape(size, in, out, kernel, stride, pad, groups, dilation);
  s.out_h = (s.in_h - 1) * stride + dilation * (kernel - 1) + 1 - 2 * pad;
  s.out_w = (s.in_w - 1) * stride + dilation * (kernel - 1) + 1 - 2 * pad;
  return s;
}

std::vector<Case> transposed_cases() {
  std::vector<Case> cases = {
      {"2x2 stride 2", transposed(6, 24, 24, 2, 2, 0)},
      {"2x2 stride 2 to one channel", transposed(9, 24, 1, 2, 2, 0)},
      {"3x3 stride 3, odd channels", transposed(4, 5, 7, 3, 3, 0)},
      {"4x4 stride 2", transposed(6, 17, 20, 4, 2, 1)},
      {"3x3 stride 2", transposed(5, 8, 16, 3, 2, 1)},
      {"3x3 stride 1", transposed(6, 12, 9, 3, 1, 1)},
      {"5x5 stride 3", transposed(4, 6, 10, 5, 3, 2)},
      {"kernel smaller than its stride", transposed(4, 6, 10, 2, 3, 0)},
      {"1x1 stride 2", transposed(5, 16, 18, 1, 2, 0)},
      {"dilated", transposed(5, 6, 8, 3, 2, 1, 1, 2)},
      {"dilated by 3", transposed(5, 6, 8, 3, 2, 2, 1, 3)},
      {"dilated, coarser than the stride", transposed(4, 4, 4, 2, 4, 0, 1, 6)},
      {"two groups", transposed(5, 12, 10, 4, 2, 1, 2)},
      {"depthwise", transposed(5, 9, 9, 2, 2, 0, 9)},
      {"padding beyond the kernel", transposed(6, 8, 8, 2, 2, 2)},
  };
  Case longer = {"output beyond the last tap", transposed(4, 7, 8, 3, 2, 1)};
  longer.s.out_h += 1;
  longer.s.out_w += 5;
  cases.push_back(longer);
  Case apart = {"asymmetric strides and padding", transposed(5, 7, 8, 2, 2, 0)};
  apart.s.kernel_h = 3;
  apart.s.stride_h = 1;
  apart.s.pad_top = 2;
  apart.s.out_h = 4;
  cases.push_back(apart);
  Case gaps = {"tiled rows with gaps between them", transposed(5, 7, 8, 2, 2, 0)};
  gaps.s.stride_h = 4;
  gaps.s.out_h = 18;
  cases.push_back(gaps);
  Case line = {"1-D", transposed(1, 6, 9, 1, 1, 0)};
  line.s.kernel_w = 4;
  line.s.stride_w = 2;
  line.s.pad_left = 1;
  line.s.in_w = 25;
  line.s.out_w = 50;
  cases.push_back(line);
  return cases;
}

TEST(ConvTransposeF32, EqualsReference) {
  Random random(17);
  size_t turn = 0;
  for (const Case& test : transposed_cases()) {
    SCOPED_TRACE(test.name + ", seed 17");
    const ConvShape& s = test.s;
    const FloatData data(s, turn++, random);
    std::vector<float> expected(static_cast<size_t>(s.out_pixels() * s.out_channels));
    reference::conv_transpose_f32(data.input.data(), data.weights.data(), s, expected.data(),
                                  data.e);
    const PackedConvTransposeF32 packed =
        pack_conv_transpose_f32(data.weights.data(), data.bias.data(), s);
    const int64_t terms = s.taps() * s.group_in() + 8;
    const auto tolerance = sum_tolerance({1.2F * static_cast<float>(terms)}, terms);
    on_every_isa([&](ThreadPool& pool) {
      Scratch scratch(conv_transpose_f32_scratch_bytes(packed, pool.size()));
      std::vector<float> output(expected.size(), 7.0F);
      conv_transpose_f32({pool, scratch.span()}, data.input.data(), packed, output.data(), data.e);
      expect_close(expected, output, tolerance, 2e-6F, test.name);
    });
    if (HasFailure()) return;
  }
}

TEST(ConvTransposeF32, WhatNoTapReachesIsTheBiasEvenNextToInfinity) {
  const ConvShape s = transposed(3, 4, 5, 1, 2, 0);
  const std::vector<float> input(static_cast<size_t>(s.batch * s.in_h * s.in_w * s.in_channels),
                                 std::numeric_limits<float>::infinity());
  const std::vector<float> weights(static_cast<size_t>(s.in_channels * s.out_channels), 1.0F);
  const std::vector<float> bias = {1, 2, 3, 4, 5};
  const PackedConvTransposeF32 packed = pack_conv_transpose_f32(weights.data(), bias.data(), s);
  ThreadPool pool(1);
  Scratch scratch(conv_transpose_f32_scratch_bytes(packed, 1));
  std::vector<float> output(static_cast<size_t>(s.out_pixels() * s.out_channels));
  conv_transpose_f32({pool, scratch.span()}, input.data(), packed, output.data(), {});
  for (int64_t c = 0; c < s.out_channels; ++c) {
    EXPECT_EQ(output[static_cast<size_t>(s.out_channels + c)], bias[static_cast<size_t>(c)]);
  }
}

struct CodeData {
  CodeData(const ConvShape& s, size_t turn, Random& random)
      : input(random.codes(s.batch * s.in_h * s.in_w * s.in_channels)),
        residual(random.codes(s.out_pixels() * s.out_channels)),
        table(random.codes(256)),
        weights(random.weights(s.out_channels * s.taps() * s.group_in())),
        bias(random.integers(s.out_channels, -5000, 5000)),
        zero_point(static_cast<int32_t>(random.between(0, 255))),
        ldc(s.out_channels + static_cast<int64_t>(turn % 2) * 3) {
    const auto terms = static_cast<float>(s.taps() * s.group_in());
    const float typical = 1.0F / (200.0F * std::sqrt(terms));
    scale = random.floats(s.out_channels, 0.2F * typical, 2.0F * typical);
    u8.output = IntegerOutput::kU8;
    u8.ldc = ldc;
    u8.scale = scale.data();
    u8.zero_point = 120;
    u8.lo = turn % 3 == 0 ? 120 : 0;
    if (turn % 2 == 0) u8.residual = residual.data();
    u8.residual_stride = s.out_channels;
    u8.residual_zero_point = 99;
    u8.residual_scale = 0.5F;
    if (turn % 3 == 1) u8.table = table.data();
    u8_bias = random.floats(s.out_channels, -30.0F, 30.0F);
    if (turn % 4 >= 2) u8.f32.bias = u8_bias.data();
    i32.ldc = ldc;
    f32.output = IntegerOutput::kF32;
    f32.ldc = ldc;
    // Powers of two and small integers: every step in floats is exact.
    for (int64_t c = 0; c < s.out_channels; ++c) {
      powers.push_back(1.0F / static_cast<float>(1 << c % 5));
      f32_bias.push_back(static_cast<float>(random.between(-99, 99)));
    }
    f32_residual.assign(residual.begin(), residual.end());
    f32.scale = powers.data();
    f32.f32.bias = f32_bias.data();
    if (turn % 2 == 0) f32.f32.residual = f32_residual.data();
    f32.f32.residual_stride = s.out_channels;
    if (turn % 3 == 1) f32.f32.activation = {Activation::kRelu};
  }
  std::vector<uint8_t> input, residual, table;
  std::vector<float> powers, u8_bias, f32_bias, f32_residual;
  std::vector<int8_t> weights;
  std::vector<int32_t> bias;
  std::vector<float> scale;
  int32_t zero_point;
  int64_t ldc;
  IntegerEpilogue u8, i32, f32;
};

template <class T, class Convolve>
void check_codes(const Case& test, const CodeData& data, const std::vector<int8_t>& ohwi,
                 IntegerEpilogue e, const Convolve& convolve) {
  const ConvShape& s = test.s;
  std::vector<T> expected(static_cast<size_t>(s.out_pixels() * data.ldc), T{7});
  e.c = expected.data();
  reference::conv_u8s8(data.input.data(), ohwi.data(), s, data.zero_point, data.bias.data(), e);
  on_every_isa([&](ThreadPool& pool) {
    std::vector<T> output(expected.size(), T{7});
    e.c = output.data();
    convolve(pool, e);
    expect_equal(expected, output, test.name);
  });
}

TEST(ConvU8S8, EqualsReferenceToTheBit) {
  Random random(13);
  size_t turn = 0;
  for (const Case& test : dense_cases()) {
    SCOPED_TRACE(test.name + ", seed 13");
    const CodeData data(test.s, turn++, random);
    const PackedConvS8 packed =
        pack_conv_s8(data.weights.data(), test.s, data.zero_point, data.bias.data());
    const auto convolve = [&](ThreadPool& pool, const IntegerEpilogue& e) {
      Scratch scratch(conv_u8s8_scratch_bytes(test.s, pool.size()));
      conv_u8s8({pool, scratch.span()}, data.input.data(), packed, test.s, e);
    };
    check_codes<int32_t>(test, data, data.weights, data.i32, convolve);
    check_codes<uint8_t>(test, data, data.weights, data.u8, convolve);
    if (HasFailure()) return;
  }
}

TEST(DepthwiseU8S8, EqualsReferenceToTheBit) {
  Random random(14);
  size_t turn = 0;
  for (const Case& test : depthwise_cases()) {
    SCOPED_TRACE(test.name + ", seed 14");
    const CodeData data(test.s, turn++, random);
    const auto convolve = [&](ThreadPool& pool, const IntegerEpilogue& e) {
      const PackedDepthwiseS8 packed =
          pack_depthwise_s8(data.weights.data(), test.s, data.zero_point, data.bias.data());
      Scratch scratch(depthwise_u8s8_scratch_bytes(test.s, pool.size()));
      depthwise_u8s8({pool, scratch.span()}, data.input.data(), packed, test.s, e);
    };
    const auto ohwi = channel_first(data.weights, test.s);
    check_codes<int32_t>(test, data, ohwi, data.i32, convolve);
    check_codes<uint8_t>(test, data, ohwi, data.u8, convolve);
    check_codes<float>(test, data, ohwi, data.f32, convolve);
    if (HasFailure()) return;
  }
}

TEST(DepthwiseU8S8, ResidualMayBeTheOutput) {
  Random random(16);
  for (const int64_t channels : {3, 8, 24, 40, 64}) {
    SCOPED_TRACE(std::to_string(channels) + " channels, seed 16");
    const Case test = {"3x3", shape(13, channels, channels, 3, 1, 1, channels)};
    const CodeData data(test.s, 0, random);
    std::vector<uint8_t> expected = data.residual;
    IntegerEpilogue e = data.u8;
    e.c = expected.data();
    reference::conv_u8s8(data.input.data(), channel_first(data.weights, test.s).data(), test.s,
                         data.zero_point, data.bias.data(), e);
    on_every_isa([&](ThreadPool& pool) {
      std::vector<uint8_t> output = data.residual;
      e.c = output.data();
      e.residual = output.data();
      const PackedDepthwiseS8 packed =
          pack_depthwise_s8(data.weights.data(), test.s, data.zero_point, data.bias.data());
      Scratch scratch(depthwise_u8s8_scratch_bytes(test.s, pool.size()));
      depthwise_u8s8({pool, scratch.span()}, data.input.data(), packed, test.s, e);
      expect_equal(expected, output, test.name);
    });
  }
}

TEST(DepthwiseU8S8, WeightsRunAtTheLevelTheyWerePackedFor) {
  Random random(15);
  const Case test = {"3x3", shape(9, 40, 40, 3, 1, 1, 40)};
  const CodeData data(test.s, 0, random);
  const IsaGuard guard;
  for (const Isa isa : available_isas()) {
    select_isa(isa);
    const PackedDepthwiseS8 packed =
        pack_depthwise_s8(data.weights.data(), test.s, data.zero_point, data.bias.data());
    check_codes<int32_t>(
        test, data, channel_first(data.weights, test.s), data.i32,
        [&](ThreadPool& pool, const IntegerEpilogue& e) {
          Scratch scratch(depthwise_u8s8_scratch_bytes(test.s, pool.size()));
          depthwise_u8s8({pool, scratch.span()}, data.input.data(), packed, test.s, e);
        });
  }
}

}  // namespace
}  // namespace ounce::engine
