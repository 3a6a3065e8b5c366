#include "graph/tensor.h"

#include <gtest/gtest.h>

namespace ounce {
namespace {

struct PackedType {
  DType dtype;
  int64_t low, high;
  size_t bytes_of_nine;
};
constexpr PackedType kPackedTypes[] = {
    {DType::u4, 0, 15, 5},
    {DType::i4, -8, 7, 5},
    {DType::i3, -4, 3, 5},  // three of low bits, two of high ones
    {DType::i2, -2, 1, 3},
    {DType::u1, -1, 1, 2}};

TEST(PackedTensor, HoldsEveryCodeInItsBits) {
  for (const PackedType& type : kPackedTypes) {
    std::vector<int64_t> values;
    const int64_t step = type.dtype == DType::u1 ? 2 : 1;
    for (int64_t i = 0; i < 9; ++i) {
      values.push_back(type.low + i * step % (type.high - type.low + step));
    }
    const Tensor packed = cast(Tensor::of(values, {9}), type.dtype);
    EXPECT_EQ(packed.bytes(), type.bytes_of_nine) << name_of(type.dtype);
    EXPECT_EQ(packed.to_i64(), values) << name_of(type.dtype);
    EXPECT_EQ(cast(packed, DType::i8).to_i64(), values) << name_of(type.dtype);
  }
}

TEST(PackedTensor, FloatsSaturateAtTheEndsOfTheType) {
  const Tensor floats = Tensor::of(std::vector<float>{-1e9F, 0.0F, 1e9F}, {3});
  for (const PackedType& type : kPackedTypes) {
    const std::vector<int64_t> codes = cast(floats, type.dtype).to_i64();
    EXPECT_EQ(codes.front(), type.low) << name_of(type.dtype);
    EXPECT_EQ(codes.back(), type.high) << name_of(type.dtype);
  }
}

}  // namespace
}  // namespace ounce
