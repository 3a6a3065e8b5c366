#include <gtest/gtest.h>

#include <cmath>

#include "graph/error.h"
#include "tests/reference/evaluate_node.h"
#include "tests/support/tensors.h"

namespace ounce::testing {
namespace {

using Codes = std::vector<int64_t>;
using Floats = std::vector<float>;

TEST(QuantizeLinear, rounds_half_to_even_and_saturates) {
  const Tensor x = floats({-0.5F, 0.5F, 1.5F, 2.5F, 300.0F, -300.0F}, {6});
  const Tensor scale = Tensor::scalar(1.0F);
  EXPECT_EQ(evaluate_one("QuantizeLinear", {x, scale, codes(DType::u8, {0}, {})}).to_i64(),
            (Codes{0, 0, 2, 2, 255, 0}));
  EXPECT_EQ(evaluate_one("QuantizeLinear", {x, scale, codes(DType::i8, {1}, {})}).to_i64(),
            (Codes{1, 1, 3, 3, 127, -128}));
}

TEST(QuantizeLinear, gives_the_zero_point_for_nan_and_the_ends_for_infinities) {
  const Tensor x = floats({NAN, INFINITY, -INFINITY}, {3});
  const Tensor q =
      evaluate_one("QuantizeLinear", {x, Tensor::scalar(0.1F), codes(DType::u8, {7}, {})});
  EXPECT_EQ(q.to_i64(), (Codes{7, 255, 0}));
}

TEST(QuantizeLinear, fills_every_packed_type_to_its_ends) {
  const struct {
    DType dtype;
    int64_t low, high;
  } types[] = {{DType::u4, 0, 15}, {DType::i4, -8, 7},     {DType::i3, -4, 3},
               {DType::i2, -2, 1}, {DType::u16, 0, 65535}, {DType::i16, -32768, 32767}};
  for (const auto& type : types) {
    const Tensor x = floats({-1e9F, 0.0F, 1e9F}, {3});
    const Tensor q =
        evaluate_one("QuantizeLinear", {x, Tensor::scalar(1.0F), codes(type.dtype, {0}, {})});
    EXPECT_EQ(q.dtype(), type.dtype);
    EXPECT_EQ(q.to_i64(), (Codes{type.low, 0, type.high})) << name_of(type.dtype);
  }
}

TEST(QuantizeLinear, takes_the_type_of_output_dtype_without_a_zero_point) {
  const Tensor x = floats({-3.0F, 3.0F}, {2});
  constexpr int64_t kOnnxInt8 = 3;
  const Tensor q = evaluate_one("QuantizeLinear", {x, Tensor::scalar(1.0F)},
                                attributes_of({{"output_dtype", kOnnxInt8}}));
  EXPECT_EQ(q.dtype(), DType::i8);
  EXPECT_EQ(q.to_i64(), (Codes{-3, 3}));
}

TEST(DequantizeLinear, reads_packed_codes_with_the_first_in_the_low_bits) {
  const std::byte bytes[] = {std::byte{0x21}, std::byte{0xF8}, std::byte{0x03}};
  const Tensor packed = Tensor::borrow(DType::i4, {5}, bytes, nullptr);
  EXPECT_EQ(evaluate_one("DequantizeLinear", {packed, Tensor::scalar(0.5F)}).to_f32(),
            (Floats{0.5F, 1.0F, -4.0F, -0.5F, 1.5F}));
}

TEST(DequantizeLinear, reads_sign_bits_as_plus_and_minus_one) {
  const std::byte bytes[] = {std::byte{0b101}};
  const Tensor packed = Tensor::borrow(DType::u1, {3}, bytes, nullptr);
  EXPECT_EQ(evaluate_one("DequantizeLinear", {packed, Tensor::scalar(2.0F)}).to_f32(),
            (Floats{-2.0F, 2.0F, -2.0F}));
}

TEST(DequantizeLinear, gives_each_block_along_the_axis_its_scale_and_zero_point) {
  // Axis 0 of 5 rows in blocks of 2: blocks {0, 1}, {2, 3}, {4}.
  const Tensor q = codes(DType::u4, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {5, 2});
  const Tensor scale = floats({1, 10, 2, 20, 3, 30}, {3, 2});
  const Tensor zero = codes(DType::u4, {0, 0, 1, 1, 2, 2}, {3, 2});
  const Tensor x = evaluate_one("DequantizeLinear", {q, scale, zero},
                                attributes_of({{"axis", int64_t{0}}, {"block_size", int64_t{2}}}));
  EXPECT_EQ(x.to_f32(), (Floats{1, 20, 3, 40, 8, 100, 12, 140, 21, 240}));
}

TEST(DequantizeLinear, inverts_quantization_within_half_a_step_for_every_granularity) {
  const Tensor x = random_tensor({4, 6, 3}, 11);
  const struct {
    Shape scale;
    AttributeMap attributes;
  } cases[] = {
      {{}, {}},
      {{6}, attributes_of({{"axis", int64_t{1}}})},
      {{3}, attributes_of({{"axis", int64_t{-1}}})},
      {{4, 2, 3}, attributes_of({{"axis", int64_t{1}}, {"block_size", int64_t{4}}})},
      {{2, 6, 3}, attributes_of({{"axis", int64_t{0}}, {"block_size", int64_t{3}}})},
  };
  for (const auto& granularity : cases) {
    Tensor scale(DType::f32, granularity.scale);
    for (float& value : scale.mutable_data<float>()) value = 1.0F / 100.0F;
    for (const DType dtype : {DType::i8, DType::i16}) {
      const Tensor zero = codes(dtype, Codes(static_cast<size_t>(scale.size()), 0), scale.shape());
      const Tensor q = evaluate_one("QuantizeLinear", {x, scale, zero}, granularity.attributes);
      const Tensor back =
          evaluate_one("DequantizeLinear", {q, scale, zero}, granularity.attributes);
      for (int64_t i = 0; i < x.size(); ++i) {
        // Half a step, and one rounding of the product.
        EXPECT_NEAR(back.data<float>()[static_cast<size_t>(i)],
                    x.data<float>()[static_cast<size_t>(i)], 0.005F * 1.0001F);
      }
    }
  }
}

TEST(DequantizeLinear, has_the_dtype_of_the_scale) {
  const Tensor scale = cast(Tensor::scalar(0.5F), DType::bf16);
  const Tensor x = evaluate_one("DequantizeLinear", {codes(DType::i32, {3, -4}, {2}), scale});
  EXPECT_EQ(x.dtype(), DType::bf16);
  EXPECT_EQ(x.to_f32(), (Floats{1.5F, -2.0F}));
}

TEST(DynamicQuantizeLinear, keeps_zeros_zero) {
  const Tensor x = floats({0, 0, 0}, {3});
  const auto outputs =
      engine::reference::evaluate(make_node("DynamicQuantizeLinear", {}, 3), std::vector{x});
  EXPECT_EQ(outputs[0].to_i64(), (Codes{0, 0, 0}));
  EXPECT_GT(outputs[1].to_f32()[0], 0.0F);
}

TEST(QLinearConv, pads_with_the_zero_point) {
  // Constant codes equal to the zero point stand for 0: so must every output, borders included.
  const Tensor x = codes(DType::u8, Codes(9, 200), {1, 1, 3, 3});
  const Tensor w = codes(DType::i8, Codes(9, 5), {1, 1, 3, 3});
  const Tensor y =
      evaluate_one("QLinearConv",
                   {x, Tensor::scalar(0.1F), codes(DType::u8, {200}, {}), w, Tensor::scalar(0.1F),
                    codes(DType::i8, {0}, {}), Tensor::scalar(0.1F), codes(DType::u8, {3}, {})},
                   attributes_of({{"pads", Codes{1, 1, 1, 1}}}));
  EXPECT_EQ(y.to_i64(), Codes(9, 3));
}

TEST(MatMulInteger, subtracts_zero_points_of_rows_and_columns) {
  const Tensor a = codes(DType::u8, {10, 20, 30, 40}, {2, 2});
  const Tensor b = codes(DType::i8, {1, 2, 3, 4}, {2, 2});
  const Tensor y = evaluate_one(
      "MatMulInteger", {a, b, codes(DType::u8, {10, 30}, {2}), codes(DType::i8, {1, 2}, {2})});
  // (a - rows) = {{0, 10}, {0, 10}}, (b - columns) = {{0, 0}, {2, 2}}
  EXPECT_EQ(y.to_i64(), (Codes{20, 20, 20, 20}));
}

TEST(DynamicFakeQuant, rounds_on_the_grid_of_a_row_or_of_all) {
  // A row from -1 to 2 in steps of 1, one of zeros, one that is never negative in steps of 4.
  const Tensor x = floats({-1.0F, 0.4F, 2.0F, 0, 0, 0, 12.0F, 5.9F, 2.1F}, {3, 3});
  AttributeMap rows = attributes_of({{"bits", int64_t{2}}, {"per_token", int64_t{1}}});
  EXPECT_EQ(evaluate_one("DynamicFakeQuant", {x}, rows).to_f32(),
            (Floats{-1, 0, 2, 0, 0, 0, 12, 4, 4}));
  // Symmetric: codes -2 to 1, one step the greatest magnitude.
  rows.set("symmetric", int64_t{1});
  EXPECT_EQ(evaluate_one("DynamicFakeQuant", {x}, rows).to_f32(),
            (Floats{0, 0, 2, 0, 0, 0, 12, 0, 0}));
  // All of them: from -1 to 12 in three steps of 13 / 3; -1 is nearest to zero.
  const auto all =
      evaluate_one("DynamicFakeQuant", {x}, attributes_of({{"bits", int64_t{2}}})).to_f32();
  const float step = 13.0F / 3.0F;
  EXPECT_EQ(all, (Floats{0, 0, 0, 0, 0, 0, 3 * step, step, 0}));
}

TEST(DynamicFakeQuant, eight_bits_of_a_tensor_are_those_of_onnx) {
  const Tensor x = ::ounce::testing::random_tensor({4, 33}, 3);
  const auto codes =
      engine::reference::evaluate(make_node("DynamicQuantizeLinear", {}, 3), std::vector{x});
  EXPECT_EQ(evaluate_one("DynamicFakeQuant", {x}).to_f32(),
            evaluate_one("DequantizeLinear", {codes[0], codes[1], codes[2]}).to_f32());
}

TEST(Binarize, takes_the_sign_with_zero_positive) {
  const Tensor x = floats({-2.0F, -0.0F, 0.0F, 3.0F}, {2, 2});
  EXPECT_EQ(evaluate_one("Binarize", {x}).to_f32(), (Floats{-1, 1, 1, 1}));
  EXPECT_EQ(evaluate_one("Binarize", {x, floats({0.5F, 2.0F}, {2})},
                         attributes_of({{"axis", int64_t{0}}}))
                .to_f32(),
            (Floats{-0.5F, 0.5F, 2.0F, 2.0F}));
}

TEST(Binarize, unsigned_is_zero_up_to_half_of_the_scale) {
  const Tensor x = floats({-2.0F, 0.25F, 0.26F, 3.0F}, {4});
  EXPECT_EQ(
      evaluate_one("Binarize", {x, Tensor::scalar(0.5F)}, attributes_of({{"unsigned", int64_t{1}}}))
          .to_f32(),
      (Floats{0, 0, 0.5F, 0.5F}));
}

TEST(LogQuantize, rounds_the_logarithm_and_ends_at_the_highest_code) {
  const Tensor x =
      floats({1.0F, 0.71F, 0.7F, 0.25F, 0.18F, 0.17F, 1e-3F, 0.0F, -1.0F, 2.0F, NAN}, {11});
  const AttributeMap two = attributes_of({{"bits", int64_t{2}}});
  EXPECT_EQ(evaluate_one("LogQuantize", {x}, two).to_f32(),
            (Floats{1, 1, 0.5F, 0.25F, 0.25F, 0.125F, 0.125F, 0.125F, 0.125F, 1, 1}));
  EXPECT_EQ(evaluate_one("LogQuantize", {x}).to_f32()[7], std::exp2(-15.0F));
  const float root = std::sqrt(0.5F);
  const AttributeMap half = attributes_of({{"bits", int64_t{3}}, {"steps_per_octave", int64_t{2}}});
  EXPECT_EQ(evaluate_one("LogQuantize", {x}, half).to_f32(),
            (Floats{1, root, root, 0.25F, 0.25F * root, 0.25F * root, 0.125F * root, 0.125F * root,
                    0.125F * root, 1, 1}));
}

TEST(LogQuantize, may_have_a_zero_behind_the_highest_code) {
  const Tensor x = floats({0.25F, 0.125F, 0.09F, 0.08F, 0.0F, -1.0F}, {6});
  const AttributeMap zero = attributes_of({{"bits", int64_t{2}}, {"zero_below", int64_t{1}}});
  EXPECT_EQ(evaluate_one("LogQuantize", {x}, zero).to_f32(),
            (Floats{0.25F, 0.125F, 0.125F, 0, 0, 0}));
}

TEST(Quantization, refuses_parameters_that_do_not_fit) {
  const Tensor x = floats(Floats(6, 1.0F), {2, 3});
  const Tensor scale = floats({1, 1}, {2});
  EXPECT_THROW(evaluate_one("QuantizeLinear", {x, scale}), Error);  // axis 1 has 3 elements
  EXPECT_THROW(evaluate_one("QuantizeLinear", {x, scale, codes(DType::u8, {0}, {})},
                            attributes_of({{"axis", int64_t{0}}})),
               Error);
  EXPECT_THROW(evaluate_one("LogQuantize", {x}, attributes_of({{"bits", int64_t{7}}})), Error);
  EXPECT_THROW(evaluate_one("LogQuantize", {x}, attributes_of({{"steps_per_octave", int64_t{3}}})),
               Error);
  EXPECT_THROW(evaluate_one("QuantizeLinear", {x, floats(Floats(4, 1.0F), {2, 2})},
                            attributes_of({{"block_size", int64_t{3}}})),
               Error);
  EXPECT_THROW(evaluate_one("QuantizeLinear", {x, Tensor::scalar(1.0F), Tensor::scalar(0.0F)}),
               Error);
}

}  // namespace
}  // namespace ounce::testing
