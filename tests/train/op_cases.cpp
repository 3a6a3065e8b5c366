#include "tests/train/op_cases.h"

#include <cmath>

#include "tests/reference/evaluate_node.h"
#include "tests/support/tensors.h"

namespace ounce::testing {
namespace {

using Ints = std::vector<int64_t>;

Tensor ints(Ints values) {
  return Tensor::of_i64(std::move(values));
}

Tensor random(Shape shape, uint32_t seed = 1) {
  return random_tensor(std::move(shape), seed, 3.0F);
}

/// Values in (0, 3].
Tensor positive(Shape shape, uint32_t seed = 1) {
  Tensor x = random(std::move(shape), seed);
  for (float& value : x.mutable_data<float>()) value = std::abs(value) + 0.01F;
  return x;
}

Tensor bools(Shape shape, uint32_t seed) {
  const Tensor x = random(shape, seed);
  Tensor result(DType::boolean, std::move(shape));
  for (size_t i = 0; i < static_cast<size_t>(x.size()); ++i) {
    result.mutable_data<bool>()[i] = x.data<float>()[i] > 0;
  }
  return result;
}

AttributeMap with(std::initializer_list<std::pair<const char*, Attribute>> entries) {
  return attributes_of(entries);
}

std::vector<OpCase> unary_cases() {
  std::vector<OpCase> cases;
  for (const char* op : {"Abs",       "Asinh",    "Atan",      "Ceil",
                         "Cos",       "Cosh",     "Elu",       "Erf",
                         "Exp",       "Floor",    "Gelu",      "HardSigmoid",
                         "HardSwish", "Identity", "LeakyRelu", "Mish",
                         "Neg",       "Relu",     "Round",     "Selu",
                         "Celu",      "Shrink",   "Sigmoid",   "Sign",
                         "Silu",      "Sin",      "Sinh",      "Softplus",
                         "Softsign",  "Tan",      "Tanh",      "ThresholdedRelu",
                         "IsNaN",     "IsInf"}) {
    cases.push_back({op, {random({2, 3, 5})}});
  }
  for (const char* op : {"Log", "Reciprocal", "Sqrt"}) cases.push_back({op, {positive({2, 7})}});
  for (const char* op : {"Acos", "Asin", "Atanh"}) {
    cases.push_back({op, {random_tensor({11}, 3, 0.9F)}});
  }
  Tensor above_one = positive({9});
  for (float& value : above_one.mutable_data<float>()) value += 1.0F;
  cases.push_back({"Acosh", {above_one}});
  cases.push_back({"Not", {bools({4, 3}, 5)}});
  cases.push_back({"Elu", {random({6})}, with({{"alpha", 0.3F}})});
  cases.push_back({"Celu", {random({6})}, with({{"alpha", 0.7F}})});
  cases.push_back({"Selu", {random({6})}, with({{"alpha", 1.2F}, {"gamma", 0.5F}})});
  cases.push_back({"Gelu", {random({9})}, with({{"approximate", std::string("tanh")}})});
  cases.push_back({"Shrink", {random({9})}, with({{"lambd", 1.0F}, {"bias", 0.5F}})});
  cases.push_back({"HardSigmoid", {random({9})}, with({{"alpha", 0.3F}, {"beta", 0.4F}})});
  return cases;
}

std::vector<OpCase> binary_cases() {
  std::vector<OpCase> cases;
  for (const char* op : {"Add", "Sub", "Mul", "Div", "Equal", "Greater", "GreaterOrEqual", "Less",
                         "LessOrEqual", "Mod"}) {
    if (std::string(op) != "Mod") {
      cases.push_back({op, {random({2, 3, 5}), random({3, 1}, 2)}});
    }
    cases.push_back({op, {ints({-7, 5, 8, -9}), ints({2, 3, -3, -2})}});
  }
  for (const char* op : {"Add", "Sub", "Mul", "Div", "Min", "Max"}) {
    cases.push_back({op, {random({2, 3, 4}), positive({2, 3, 4}, 2)}});
  }
  for (const char* op : {"And", "Or", "Xor"}) {
    cases.push_back({op, {bools({2, 5}, 1), bools({5}, 2)}});
  }
  for (const char* op : {"Min", "Max", "Sum", "Mean"}) {
    cases.push_back({op, {random({4}), random({3, 4}, 2), random({3, 1}, 3)}});
  }
  cases.push_back({"Mod", {random({8}), positive({8}, 2)}, with({{"fmod", int64_t{1}}})});
  cases.push_back({"Pow", {positive({6}), random({6}, 2)}});
  cases.push_back({"Pow", {random({6}), ints({2})}});
  cases.push_back({"PRelu", {random({2, 3, 4}), random({3, 1}, 2)}});
  cases.push_back({"Where", {bools({2, 3}, 1), random({3}), random({2, 1}, 2)}});
  cases.push_back({"Clip", {random({9}), Tensor::scalar(-0.5F), Tensor::scalar(1.0F)}});
  cases.push_back({"Clip", {random({9}), Tensor(), Tensor::scalar(1.0F)}});
  cases.push_back({"Clip", {random({9}), Tensor::scalar(2.0F), Tensor::scalar(1.0F)}});
  cases.push_back({"Cast", {random({9})}, with({{"to", int64_t{7}}})});
  cases.push_back({"Cast", {random({9})}, with({{"to", int64_t{9}}})});
  cases.push_back({"CastLike", {ints({1, 2}), random({1})}});
  return cases;
}

std::vector<OpCase> convolution_cases() {
  const Tensor x = random({2, 4, 9, 7});
  const Tensor w = random({6, 4, 3, 3}, 2);
  const Tensor bias = random({6}, 3);
  const Tensor up = random({4, 3, 3, 2}, 4);
  const auto same = [](const char* word) { return with({{"auto_pad", std::string(word)}}); };
  return {
      {"Conv", {x, w, bias}},
      {"Conv", {x, w}, with({{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 1}}})},
      {"Conv", {x, w, bias}, with({{"pads", Ints{0, 1, 2, 3}}, {"dilations", Ints{2, 1}}})},
      {"Conv", {x, w}, same("SAME_UPPER")},
      {"Conv", {x, w}, same("SAME_LOWER")},
      {"Conv", {x, random({8, 2, 3, 2}, 5), random({8}, 6)}, with({{"group", int64_t{2}}})},
      {"Conv", {random({2, 3, 11}), random({5, 3, 4}, 2)}, with({{"pads", Ints{1, 2}}})},
      {"Conv", {random({1, 2, 4, 5, 3}), random({3, 2, 2, 3, 1}, 2)}},
      {"ConvTranspose", {x, up, random({3}, 5)}},
      {"ConvTranspose", {x, up}, with({{"strides", Ints{2, 3}}, {"pads", Ints{1, 0, 0, 1}}})},
      {"ConvTranspose", {x, up}, with({{"strides", Ints{2, 2}}, {"output_padding", Ints{1, 1}}})},
      {"ConvTranspose",
       {x, up, random({3}, 5)},
       with({{"strides", Ints{2, 2}}, {"output_shape", Ints{20, 15}}})},
      {"ConvTranspose",
       {x, random({4, 2, 3, 3}, 6)},
       with({{"group", int64_t{2}}, {"dilations", Ints{2, 1}}})},
      {"ConvTranspose",
       {x, up},
       with({{"auto_pad", std::string("SAME_UPPER")}, {"strides", Ints{2, 2}}})},
  };
}

std::vector<OpCase> product_cases() {
  const Tensor q = random({2, 3, 5, 4});
  const Tensor k = random({2, 3, 6, 4}, 2);
  const Tensor v = random({2, 3, 6, 7}, 3);
  const auto einsum = [](const char* text) { return with({{"equation", std::string(text)}}); };
  return {
      {"MatMul", {random({3, 4}), random({4, 5}, 2)}},
      {"MatMul", {random({2, 1, 3, 4}), random({5, 4, 2}, 2)}},
      {"MatMul", {random({4}), random({4, 5}, 2)}},
      {"MatMul", {random({3, 4}), random({4}, 2)}},
      {"Gemm", {random({3, 4}), random({4, 5}, 2)}},
      {"Gemm", {random({3, 4}), random({5, 4}, 2), random({5}, 3)}, with({{"transB", int64_t{1}}})},
      {"Gemm",
       {random({4, 3}), random({4, 5}, 2), random({3, 1}, 3)},
       with({{"transA", int64_t{1}}, {"alpha", 0.5F}, {"beta", 2.0F}})},
      {"Gemm", {random({3, 4}), random({4, 5}, 2), random({}, 3)}, with({{"beta", 0.0F}})},
      {"Einsum", {random({3, 4}), random({4, 5}, 2)}, einsum("ij,jk->ik")},
      {"Einsum", {random({2, 3, 4}), random({2, 4, 5}, 2)}, einsum("...ij, ...jk")},
      {"Attention", {q, k, v}},
      {"Attention", {q, k, v, random({5, 6}, 4)}, with({{"scale", 0.3F}})},
      {"Attention", {q, k, v, bools({2, 1, 5, 6}, 6)}},
      {"RotaryEmbedding", {q, random({5, 2}, 2), random({5, 2}, 3)}},
      {"RotaryEmbedding",
       {q, random({5, 2}, 2), random({5, 2}, 3)},
       with({{"interleaved", int64_t{1}}})},
  };
}

std::vector<OpCase> normalization_cases() {
  const Tensor x = random({2, 6, 4, 3});
  const Tensor scale = random({6}, 2);
  const Tensor bias = random({6}, 3);
  return {
      {"BatchNormalization", {x, scale, bias, random({6}, 4), positive({6}, 5)}},
      {"BatchNormalization",
       {random({3, 6}), scale, bias, random({6}, 4), positive({6}, 5)},
       with({{"epsilon", 0.01F}})},
      {"GroupNormalization", {x, scale, bias}, with({{"num_groups", int64_t{3}}})},
      {"InstanceNormalization", {x, scale, bias}},
      {"LayerNormalization", {x, random({3}, 2), random({3}, 3)}, {}, 3},
      {"LayerNormalization", {x, random({4, 3}, 2)}, with({{"axis", int64_t{2}}}), 3},
      {"LayerNormalization", {x, random({1, 3}, 2), random({1}, 3)}, with({{"axis", int64_t{-2}}})},
      {"RMSNorm", {x, random({3}, 2)}},
      {"RMSNorm", {x, random({4, 3}, 2)}, with({{"axis", int64_t{2}}, {"epsilon", 0.1F}})},
      {"LRN", {x}, with({{"size", int64_t{4}}, {"alpha", 0.1F}})},
      {"LpNormalization", {x}, with({{"p", int64_t{1}}, {"axis", int64_t{1}}})},
      {"LpNormalization", {x}},
      {"MeanVarianceNormalization", {x}},
      {"Softmax", {x}, with({{"axis", int64_t{1}}})},
      {"LayerNormalization", {x, random({3}, 2), random({3}, 3)}},
      {"Softmax", {x}},
      {"LogSoftmax", {x}},
      {"Hardmax", {x}, with({{"axis", int64_t{2}}})},
  };
}

std::vector<OpCase> pooling_cases() {
  const Tensor x = random({2, 3, 9, 8});
  std::vector<OpCase> cases;
  for (const char* op : {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}) {
    cases.push_back({op, {x}});
  }
  const auto add = [&](const AttributeMap& attributes) {
    cases.push_back({"MaxPool", {x}, attributes, 2});
    cases.push_back({"AveragePool", {x}, attributes});
    AttributeMap included = attributes;
    included.set("count_include_pad", int64_t{1});
    cases.push_back({"AveragePool", {x}, included});
    cases.push_back({"LpPool", {x}, attributes});
  };
  add(with({{"kernel_shape", Ints{3, 2}}}));
  add(with({{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}}));
  add(with({{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 3}}, {"pads", Ints{0, 2, 1, 0}}}));
  add(with({{"kernel_shape", Ints{2, 3}}, {"dilations", Ints{2, 2}}, {"pads", Ints{1, 1, 0, 1}}}));
  add(with({{"kernel_shape", Ints{4, 3}},
            {"strides", Ints{3, 3}},
            {"ceil_mode", int64_t{1}},
            {"pads", Ints{1, 1, 1, 1}}}));
  add(with({{"kernel_shape", Ints{4, 3}},
            {"strides", Ints{2, 3}},
            {"auto_pad", std::string("SAME_LOWER")}}));
  cases.push_back({"MaxPool", {random({2, 3, 10})}, with({{"kernel_shape", Ints{3}}}), 2});
  cases.push_back({"AveragePool", {random({2, 3, 10})}, with({{"kernel_shape", Ints{3}}})});
  cases.push_back(
      {"AveragePool", {random({1, 2, 4, 5, 3})}, with({{"kernel_shape", Ints{2, 3, 1}}})});
  return cases;
}

std::vector<OpCase> reduction_cases() {
  const Tensor x = random({2, 3, 4, 5});
  std::vector<OpCase> cases;
  for (const char* op : {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
                         "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"}) {
    const Tensor from = std::string(op) == "ReduceLogSum" ? positive({2, 3, 4, 5}) : x;
    cases.push_back({op, {from}});
    cases.push_back({op, {from, ints({1, -1})}});
    cases.push_back({op, {from, ints({2})}, with({{"keepdims", int64_t{0}}})});
    cases.push_back({op, {from, ints({})}, with({{"noop_with_empty_axes", int64_t{1}}})});
  }
  cases.push_back({"ReduceSum", {ints({1, 5, -9})}});
  cases.push_back({"ReduceMean", {ints({1, 5, 9})}});
  for (const char* op : {"ArgMax", "ArgMin"}) {
    const Tensor ties = Tensor::of(std::vector<float>{1, 3, 3, 0, 0, 2}, {2, 3});
    cases.push_back({op, {x}, with({{"axis", int64_t{2}}, {"keepdims", int64_t{0}}})});
    cases.push_back({op, {ties}, with({{"axis", int64_t{1}}})});
    cases.push_back({op, {ties}, with({{"axis", int64_t{1}}, {"select_last_index", int64_t{1}}})});
  }
  const Tensor ties = Tensor::of(std::vector<float>{1, 3, 3, 0, 0, 3}, {2, 3});
  cases.push_back({"TopK", {x, ints({2})}, with({{"axis", int64_t{1}}}), 2});
  cases.push_back({"TopK", {ties, ints({2})}, with({{"largest", int64_t{0}}}), 2});
  cases.push_back({"CumSum", {x, ints({1})}});
  cases.push_back(
      {"CumSum", {x, ints({-1})}, with({{"exclusive", int64_t{1}}, {"reverse", int64_t{1}}})});
  return cases;
}

std::vector<OpCase> shape_cases() {
  const Tensor x = random({2, 4, 6, 3});
  const Tensor none = ints({});
  const auto word = [](const char* name, const char* value) {
    return with({{name, std::string(value)}});
  };
  std::vector<OpCase> cases = {
      {"Reshape", {x, ints({0, -1, 3})}},
      {"Reshape", {random({0, 3}), ints({3, 0})}, with({{"allowzero", int64_t{1}}})},
      {"Flatten", {x}},
      {"Flatten", {x}, with({{"axis", int64_t{-1}}})},
      {"Squeeze", {random({1, 3, 1}), ints({-1})}},
      {"Squeeze", {random({1, 3, 1})}},
      {"Unsqueeze", {x, ints({0, -1})}},
      {"Transpose", {x}},
      {"Transpose", {x}, with({{"perm", Ints{0, 2, 3, 1}}})},
      {"Concat", {x, random({2, 1, 6, 3}, 2)}, with({{"axis", int64_t{1}}})},
      {"Split", {x, ints({1, 3})}, with({{"axis", int64_t{1}}}), 2},
      {"Split", {random({7})}, with({{"num_outputs", int64_t{3}}}), 3},
      {"Slice", {x, ints({1, 0}), ints({6, 2}), ints({2, 3}), ints({2, 1})}},
      {"Slice", {x, ints({-1, 2}), ints({-1000, 0}), ints({2, 1}), ints({-2, -1})}},
      {"Slice", {x, ints({3}), ints({1})}},
      {"Expand", {random({3, 1}), ints({2, 1, 5})}},
      {"Tile", {random({2, 3}), ints({2, 1})}},
      {"DepthToSpace", {x}, with({{"blocksize", int64_t{2}}})},
      {"DepthToSpace", {x}, with({{"blocksize", int64_t{2}}, {"mode", std::string("CRD")}})},
      {"SpaceToDepth", {random({1, 2, 4, 6})}, with({{"blocksize", int64_t{2}}})},
      {"Shape", {x}, with({{"start", int64_t{1}}, {"end", int64_t{-1}}})},
      {"Size", {x}},
      {"Dropout", {x}, {}, 2},
      {"Trilu", {random({2, 4, 5}), Tensor::scalar(int64_t{1})}},
      {"Trilu", {random({4, 4})}, with({{"upper", int64_t{0}}})},
      {"Pad", {x, ints({0, 1, 2, 0, 0, 0, 1, 3}), Tensor::scalar(0.5F)}},
      {"Pad", {x, ints({-1, 2, 1, -2}), Tensor(), ints({1, 2})}},
      {"Pad", {x, ints({3, 1, 2, 2}), Tensor(), ints({1, 3})}, word("mode", "reflect")},
      {"Pad", {x, ints({2, 1}), Tensor(), ints({-1})}, word("mode", "edge")},
      {"Pad", {x, ints({5, -1}), Tensor(), ints({2})}, word("mode", "wrap")},
  };
  return cases;
}

std::vector<OpCase> index_cases() {
  const Tensor x = random({4, 5, 3});
  const Tensor pairs = Tensor::of(Ints{0, 1, -1, 2}, {2, 2});
  const Tensor updates = random({2, 3}, 2);
  const auto reduction = [](const char* name) { return with({{"reduction", std::string(name)}}); };
  std::vector<OpCase> cases = {
      {"Gather", {x, Tensor::of(Ints{0, -1, 2, 2}, {2, 2})}, with({{"axis", int64_t{1}}})},
      {"Gather", {x, Tensor::scalar(int64_t{-2})}},
      {"GatherElements", {x, Tensor::of(Ints{0, -1, 2}, {1, 1, 3})}, with({{"axis", int64_t{1}}})},
      {"GatherND", {x, pairs}},
      {"GatherND", {x, Tensor::of(Ints{0, 1, 4, -2}, {4, 1})}, with({{"batch_dims", int64_t{1}}})},
      {"Compress", {x, codes(DType::boolean, {1, 0, 1}, {3})}, with({{"axis", int64_t{1}}})},
      {"Compress", {x, codes(DType::boolean, {0, 1, 1}, {3})}},
      {"NonZero", {codes(DType::i64, {0, 1, 2, 0, 0, 3}, {2, 3})}},
      {"OneHot", {ints({1, -1, 7}), ints({3}), random({2})}},
      {"OneHot", {ints({1, 0}), ints({3}), random({2})}, with({{"axis", int64_t{0}}})},
      {"EyeLike", {random({3, 4})}, with({{"k", int64_t{1}}})},
      {"EyeLike", {random({3, 4})}, with({{"k", int64_t{-1}}, {"dtype", int64_t{7}}})},
      {"Range", {Tensor::scalar(1.0F), Tensor::scalar(3.1F), Tensor::scalar(0.3F)}},
      {"Range",
       {Tensor::scalar(int64_t{9}), Tensor::scalar(int64_t{2}), Tensor::scalar(int64_t{-3})}},
      {"Constant", {}, with({{"value", random({2, 3})}})},
      {"Constant", {}, with({{"value_floats", std::vector<float>{1, 2}}})},
      {"ConstantOfShape", {ints({2, 3})}, with({{"value", Tensor::of(Ints{7}, {1})}})},
  };
  for (const char* name : {"none", "add", "mul", "min", "max"}) {
    cases.push_back({"ScatterND", {x, pairs, updates}, reduction(name)});
    cases.push_back({"ScatterElements",
                     {x, Tensor::of(Ints{0, 2, -1}, {1, 1, 3}), random({1, 1, 3}, 4)},
                     reduction(name)});
  }
  return cases;
}

std::vector<OpCase> resample_cases() {
  const Tensor x = random({2, 3, 5, 7});
  std::vector<OpCase> cases;
  const Tensor scales = Tensor::of(std::vector<float>{1, 1, 1.7F, 0.6F}, {4});
  cases.push_back({"Resize",
                   {x, Tensor(), Tensor::of(std::vector<float>{1, 1, 2, 2}, {4})},
                   with({{"coordinate_transformation_mode", std::string("asymmetric")},
                         {"nearest_mode", std::string("floor")}})});
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    for (const char* coordinates : {"half_pixel", "asymmetric", "align_corners",
                                    "pytorch_half_pixel", "half_pixel_symmetric"}) {
      AttributeMap attributes =
          with({{"mode", std::string(mode)},
                {"coordinate_transformation_mode", std::string(coordinates)}});
      cases.push_back({"Resize", {x, Tensor(), scales}, attributes});
      cases.push_back({"Resize", {x, Tensor(), Tensor(), ints({2, 3, 4, 15})}, attributes});
    }
    cases.push_back({"Resize",
                     {x, Tensor(), Tensor(), ints({3, 4})},
                     with({{"mode", std::string(mode)},
                           {"axes", Ints{2, 3}},
                           {"antialias", int64_t{1}},
                           {"exclude_outside", int64_t{1}},
                           {"keep_aspect_ratio_policy", std::string("not_larger")}})});
    cases.push_back(
        {"Resize",
         {x, Tensor::of(std::vector<float>{0.2F, -0.1F, 0.9F, 1.2F}, {4}), Tensor(), ints({6, 6})},
         with({{"mode", std::string(mode)},
               {"axes", Ints{2, 3}},
               {"extrapolation_value", 5.0F},
               {"coordinate_transformation_mode", std::string("tf_crop_and_resize")}})});
  }
  for (const char* mode : {"linear", "nearest", "cubic"}) {
    for (const char* padding : {"zeros", "border", "reflection"}) {
      for (const int64_t corners : {0, 1}) {
        cases.push_back({"GridSample",
                         {x, random_tensor({2, 4, 3, 2}, 9, 1.3F)},
                         with({{"mode", std::string(mode)},
                               {"padding_mode", std::string(padding)},
                               {"align_corners", corners}})});
      }
    }
  }
  return cases;
}

std::vector<OpCase> quantize_cases() {
  const Tensor x = random({4, 6});
  const Tensor scale = Tensor::scalar(0.03F);
  const Tensor scales = positive({6}, 2);
  const Tensor blocks = positive({4, 2}, 3);
  const auto blocked = with({{"axis", int64_t{1}}, {"block_size", int64_t{4}}});
  return {
      {"QuantizeLinear", {x, scale, codes(DType::u8, {128}, {})}},
      {"QuantizeLinear", {x, scale, codes(DType::i8, {-3}, {})}},
      {"QuantizeLinear", {x, Tensor::scalar(0.3F), codes(DType::i4, {1}, {})}},
      {"QuantizeLinear", {x, Tensor::scalar(0.3F)}, with({{"output_dtype", int64_t{21}}})},
      {"QuantizeLinear", {x, scales, codes(DType::i8, {0, 1, 2, 3, 4, 5}, {6})}},
      {"QuantizeLinear", {x, blocks}, blocked},
      {"DequantizeLinear",
       {codes(DType::u8, {0, 7, 200, 255}, {4}), scale, codes(DType::u8, {128}, {})}},
      {"DequantizeLinear", {codes(DType::i4, {-8, -1, 0, 7}, {2, 2}), positive({2}, 4)}},
      {"DequantizeLinear",
       {codes(DType::i8, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {2, 6}), positive({2, 2}, 4)},
       blocked},
      {"DynamicQuantizeLinear", {x}, {}, 3},
      {"DynamicFakeQuant", {x}},
      {"DynamicFakeQuant", {x}, with({{"bits", int64_t{4}}, {"per_token", int64_t{1}}})},
      {"DynamicFakeQuant", {x}, with({{"bits", int64_t{3}}, {"symmetric", int64_t{1}}})},
      {"Binarize", {x}},
      {"Binarize", {x, scales}},
      {"Binarize", {x, positive({4}, 2)}, with({{"axis", int64_t{0}}})},
      {"Binarize", {positive({3, 5}), Tensor::scalar(2.0F)}, with({{"unsigned", int64_t{1}}})},
      {"LogQuantize", {x}},
      {"LogQuantize",
       {positive({3, 5})},
       with({{"bits", int64_t{3}}, {"steps_per_octave", int64_t{2}}, {"zero_below", int64_t{1}}})},
  };
}

std::vector<OpCase> integer_cases() {
  const Tensor x = codes(DType::u8, {1, 200, 30, 4, 5, 60, 7, 8, 90}, {1, 1, 3, 3});
  const Tensor w = codes(DType::i8, {1, -2, 3, -4}, {1, 1, 2, 2});
  const Tensor a = codes(DType::u8, {1, 2, 30, 40}, {2, 2});
  const Tensor scale = Tensor::scalar(0.5F);
  const Tensor zero = codes(DType::u8, {3}, {});
  const Tensor middle = codes(DType::i8, {0}, {});
  std::vector<OpCase> cases = {
      {"ConvInteger", {x, w, zero}},
      {"QLinearConv", {x, scale, zero, w, scale, middle, scale, zero}},
      {"MatMulInteger", {a, a}},
      {"QLinearMatMul", {a, scale, zero, a, scale, zero, scale, zero}},
      {"BitwiseNot", {a}},
      {"BitShift", {a, a}, with({{"direction", std::string("LEFT")}})},
      {"NonMaxSuppression", {random({1, 4, 4}), positive({1, 2, 4}), Tensor::scalar(int64_t{2})}}};
  for (const char* op : {"BitwiseAnd", "BitwiseOr", "BitwiseXor"}) cases.push_back({op, {a, a}});
  return cases;
}

}  // namespace

std::vector<OpCase> trained_cases() {
  std::vector<OpCase> cases;
  for (const auto& family : {unary_cases(), binary_cases(), convolution_cases(), product_cases(),
                             normalization_cases(), pooling_cases(), reduction_cases(),
                             shape_cases(), index_cases(), resample_cases(), quantize_cases()}) {
    cases.insert(cases.end(), family.begin(), family.end());
  }
  return cases;
}

std::vector<OpCase> untrained_cases() {
  return integer_cases();
}

std::string describe(const OpCase& test) {
  std::string text = test.op;
  for (const Tensor& input : test.inputs) {
    text += ' ' + std::string(name_of(input.dtype())) + to_string(input.shape());
  }
  for (const auto& [name, value] : test.attributes.entries()) {
    text += ' ' + name;
    if (const auto* word = std::get_if<std::string>(&value)) text += '=' + *word;
    if (const auto* number = std::get_if<int64_t>(&value)) text += '=' + std::to_string(*number);
  }
  return text;
}

}  // namespace ounce::testing
