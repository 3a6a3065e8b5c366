#include <algorithm>

#include "engine/kernels/bits/conv_bits.h"
#include "engine/kernels/bits/gemm_bits.h"
#include "engine/kernels/blocking/blocking.h"
#include "engine/kernels/codes/packed_codes.h"
#include "engine/kernels/int8/quantize_dynamic.h"
#include "engine/ops/common.h"
#include "engine/ops/factories.h"
#include "engine/plan/choose_kernel.h"

// Products of 8-bit codes with weights of fewer bits: the packed weights as they are, or unpacked
// to int8 once at load, or with codes of few bits as planes of bits; and f32 products with packed
// weights.
namespace ounce::engine {
namespace {

CodeFormat code_format(const Tensor& codes) {
  switch (codes.dtype()) {
    case DType::u1:
      return CodeFormat::kSign;
    case DType::i2:
      return is_ternary(codes) ? CodeFormat::kTernary : CodeFormat::kInt2;
    case DType::i3:
      return CodeFormat::kInt3;
    case DType::i4:
      return CodeFormat::kInt4;
    default:
      return CodeFormat::kInt8;
  }
}

Multiplication multiplication_of(CodeFormat format) {
  Multiplication multiplication = kInt8Multiplication;
  multiplication.weight_bits = code_bits(format);
  return multiplication;
}

/// `codes`: the weights as i8, which must outlive the matrix.
CodeMatrix code_matrix(const StepRequest& request, const MatrixShape& shape, const Tensor& codes,
                       CodeFormat format) {
  CodeMatrix matrix;
  matrix.format = format;
  matrix.run = shape.k;
  matrix.n = shape.n;
  matrix.layout = weight_layout(request.node);
  matrix.codes = codes.data<int8_t>().data();
  return matrix;
}

class CodeConvStep final : public Step {
 public:
  explicit CodeConvStep(const StepRequest& request)
      : node_(request.node),
        shape_(conv_shape(request)),
        threads_(request.threads),
        output_(integer_output(request, shape_.out_channels)) {
    const Tensor& weight = *request.constant(node_.input(1));
    packed_ =
        pack_conv_codes(to_ohwi<int8_t>(cast(weight, DType::i8)).data(), code_format(weight),
                        shape_, static_cast<int32_t>(node_.attributes.get_int("x_zero_point", 0)),
                        nullptr, integer_bias(request));
  }

  void run(const RunContext& context) override {
    conv_u8_codes(context.kernels, context.at<const uint8_t>(node_.input(0)), packed_, shape_,
                  bind(output_, context, node_, shape_.out_channels));
  }
  size_t scratch_bytes() const override {
    return conv_u8_codes_scratch_bytes(packed_, shape_, threads_);
  }
  int64_t weight_bytes() const override {
    int64_t bytes = 0;
    for (const PackedCodes& group : packed_.groups) bytes += group.packed_bytes();
    return bytes;
  }
  std::string_view kernel() const override { return "conv_u8_codes"; }
  Multiplication multiplication() const override {
    return multiplication_of(packed_.groups.front().format);
  }

 private:
  Node node_;
  ConvShape shape_;
  int threads_;
  IntegerOutputPlan output_;
  PackedConvCodes packed_;
};

class CodeMatMulStep final : public Step {
 public:
  explicit CodeMatMulStep(const StepRequest& request)
      : node_(request.node),
        shape_(matrix_shape(request)),
        threads_(request.threads),
        output_(integer_output(request, shape_.n)) {
    const Tensor& weight = *request.constant(node_.input(1));
    const Tensor codes = cast(weight, DType::i8);
    packed_ = pack_codes(code_matrix(request, shape_, codes, code_format(weight)),
                         static_cast<int32_t>(node_.attributes.get_int("x_zero_point", 0)),
                         integer_bias(request));
  }

  void run(const RunContext& context) override {
    gemm_u8_codes(context.kernels, context.at<const uint8_t>(node_.input(0)), shape_.k, packed_,
                  shape_.m, bind(output_, context, node_, shape_.n));
  }
  size_t scratch_bytes() const override {
    return gemm_codes_scratch_bytes(packed_, shape_.m, threads_);
  }
  int64_t weight_bytes() const override { return packed_.packed_bytes(); }
  std::string_view kernel() const override { return "gemm_u8_codes"; }
  Multiplication multiplication() const override { return multiplication_of(packed_.format); }

 private:
  Node node_;
  MatrixShape shape_;
  int threads_;
  IntegerOutputPlan output_;
  PackedCodes packed_;
};

/// Activations that are quantized while the model runs, on a grid of their own.
class DynamicInput {
 public:
  DynamicInput(const Node& node, const MatrixShape& shape)
      : shape_(shape), bits_(static_cast<int>(node.attributes.get_int("dynamic_bits", 0))) {
    per_token_ = node.attributes.get_int("dynamic_per_token", 0) != 0;
    if (node.attributes.get_int("dynamic_symmetric", 0) != 0) grid_ = DynamicGrid::kSymmetric;
  }

  size_t bytes() const {
    return ScratchCursor::need<uint8_t>(shape_.m * shape_.k) + ScratchCursor::need<float>(grids()) +
           ScratchCursor::need<int32_t>(grids());
  }
  QuantizedRows quantize(const Context& context, const float* x, ScratchCursor& cursor) const {
    DynamicCodes out;
    out.codes = cursor.take<uint8_t>(shape_.m * shape_.k);
    out.stride = shape_.k;
    out.scales = cursor.take<float>(grids());
    out.zero_points = cursor.take<int32_t>(grids());
    const auto make = per_token_ ? quantize_rows : quantize_tensor;
    make(context, x, shape_.k, shape_.m, shape_.k, grid_, bits_, out);
    return {out.codes, out.stride, out.scales, out.zero_points, !per_token_};
  }

 private:
  int64_t grids() const { return per_token_ ? shape_.m : 1; }

  MatrixShape shape_;
  int bits_;
  bool per_token_ = false;
  DynamicGrid grid_ = DynamicGrid::kAsymmetric;
};

/// f32 out: f32 activations, as they are or quantized here, or codes and weights with scales of
/// groups.
class CodeFloatMatMulStep final : public Step {
 public:
  explicit CodeFloatMatMulStep(const StepRequest& request)
      : node_(request.node),
        shape_(matrix_shape(request)),
        threads_(request.threads),
        output_(float_output(request, shape_.n)),
        input_(input_of(request)),
        x_scale_(node_.attributes.get_float("x_scale", 1.0F)),
        x_zero_point_(static_cast<int32_t>(node_.attributes.get_int("x_zero_point", 0))),
        dynamic_(node_, shape_) {
    const Tensor& weight = *request.constant(node_.input(1));
    const Tensor codes = cast(weight, DType::i8);
    CodeMatrix matrix = code_matrix(request, shape_, codes, code_format(weight));
    matrix.group = node_.attributes.get_int("group", 0);
    matrix.scales = node_.attributes.get_tensor("scales")->data<float>().data();
    if (const Tensor* zero_points = node_.attributes.get_tensor("zero_points")) {
      matrix.zero_points = zero_points->data<int8_t>().data();
    }
    packed_ = pack_codes(matrix);
  }

  void run(const RunContext& context) override {
    auto* c = context.at<float>(node_.output(0));
    const Epilogue epilogue = bind(output_, context, node_);
    if (input_ == Input::kF32) {
      return gemm_f32_codes(context.kernels, context.at<const float>(node_.input(0)), shape_.k,
                            packed_, shape_.m, c, shape_.n, epilogue);
    }
    QuantizedRows a;
    ScratchCursor cursor(context.kernels.scratch);
    if (input_ == Input::kCodes) {
      a = {context.at<const uint8_t>(node_.input(0)), shape_.k, &x_scale_, &x_zero_point_, true};
    } else {
      a = dynamic_.quantize(context.kernels, context.at<const float>(node_.input(0)), cursor);
    }
    const Context rest = {context.kernels.pool, cursor.rest(context.kernels.scratch)};
    gemm_quantized_codes(rest, a, packed_, shape_.m, c, shape_.n, epilogue);
  }
  size_t scratch_bytes() const override {
    const size_t codes = input_ == Input::kDynamic ? dynamic_.bytes() : 0;
    return codes + gemm_codes_scratch_bytes(packed_, shape_.m, threads_);
  }
  int64_t weight_bytes() const override { return packed_.packed_bytes(); }
  std::string_view kernel() const override {
    constexpr std::string_view kNames[] = {"gemm_f32_codes", "gemm_quantized_codes",
                                           "gemm_dynamic_codes"};
    return kNames[static_cast<size_t>(input_)];
  }
  Multiplication multiplication() const override {
    if (input_ != Input::kF32) return multiplication_of(packed_.format);
    return {Arithmetic::kF32, code_bits(packed_.format), 32};
  }

 private:
  enum class Input : uint8_t { kF32, kCodes, kDynamic };
  static Input input_of(const StepRequest& request) {
    if (request.dtype(request.node.input(0)) == DType::u8) return Input::kCodes;
    return request.node.attributes.has("dynamic_bits") ? Input::kDynamic : Input::kF32;
  }

  Node node_;
  MatrixShape shape_;
  int threads_;
  FloatOutputPlan output_;
  Input input_;
  float x_scale_;
  int32_t x_zero_point_;
  DynamicInput dynamic_;
  PackedCodes packed_;
};

template <class S>
std::unique_ptr<Step> make(const StepRequest& request) {
  return std::make_unique<S>(request);
}

/// Weights that take the matrix kernels of few bits.
bool is_low_bit(const StepRequest& request) {
  return is_packed(request.constant(request.node.input(1))->dtype());
}

/// Weights and codes that fit planes of bits.
bool fits_planes(const StepRequest& request) {
  constexpr int64_t kLargestCode = 7;  // three planes
  const DType weights = request.constant(request.node.input(1))->dtype();
  return weights != DType::i4 && request.node.attributes.get_int("x_max", 255) <= kLargestCode;
}

}  // namespace

std::unique_ptr<Step> make_integer_conv(const StepRequest& request) {
  if (!is_low_bit(request) || is_depthwise(conv_shape(request))) return make_int8_conv(request);
  std::vector<KernelCandidate> candidates = {
      {"conv_u8_codes", [&] { return make<CodeConvStep>(request); }},
      {"conv_u8s8", [&] { return make_int8_conv(request); }},
  };
  if (fits_planes(request)) {
    candidates.push_back({"conv_bits", [&] { return make_plane_conv(request); }});
  }
  return fastest(request, candidates);
}

std::unique_ptr<Step> make_integer_matmul(const StepRequest& request) {
  if (!is_low_bit(request)) return make_int8_matmul(request);
  std::vector<KernelCandidate> candidates = {
      {"gemm_u8_codes", [&] { return make<CodeMatMulStep>(request); }},
      {"gemm_u8s8", [&] { return make_int8_matmul(request); }},
  };
  if (fits_planes(request)) {
    candidates.push_back({"gemm_bits", [&] { return make_plane_matmul(request); }});
  }
  return fastest(request, candidates);
}

std::unique_ptr<Step> make_code_matmul(const StepRequest& request) {
  return make<CodeFloatMatMulStep>(request);
}

}  // namespace ounce::engine
