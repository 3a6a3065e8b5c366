#include "benchmarks/kernels/kernel_case.h"

#include <cmath>
#include <random>

namespace ounce::engine {

ThreadPool& one_thread() {
  static ThreadPool pool(1);
  return pool;
}

template <class T>
AlignedVector<T> random_values(int64_t count) {
  std::mt19937 generator(7);
  AlignedVector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = static_cast<T>(static_cast<int>(generator() % 251) - 125);
  return values;
}
template AlignedVector<float> random_values(int64_t);
template AlignedVector<uint8_t> random_values(int64_t);
template AlignedVector<int8_t> random_values(int64_t);

QuantizedOutput::QuantizedOutput(int64_t outputs, int64_t columns, int64_t k)
    : codes_(static_cast<size_t>(outputs)),
      scale_(static_cast<size_t>(round_up(columns, kPanelColumns)),
             0.005F / std::sqrt(static_cast<float>(k))),
      columns_(columns) {}

IntegerEpilogue QuantizedOutput::epilogue() {
  IntegerEpilogue e;
  e.output = IntegerOutput::kU8;
  e.c = codes_.data();
  e.ldc = columns_;
  e.scale = scale_.data();
  e.zero_point = 128;
  return e;
}

ConvShape Image::shape() const {
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

std::string Image::text() const {
  const std::string side = std::to_string(size);
  return side + "x" + side + "x" + std::to_string(in) + "-" + std::to_string(out) + "/s" +
         std::to_string(stride);
}

std::string Image::op() const {
  const std::string side = std::to_string(kernel);
  return (groups > 1 ? "depthwise" : "conv") + side + "x" + side;
}

double conv_operations(const ConvShape& s) {
  return 2.0 * static_cast<double>(s.out_pixels() * s.out_channels * s.taps() * s.group_in());
}

std::string product_text(int64_t m, int64_t k, int64_t n) {
  return std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n);
}

}  // namespace ounce::engine
