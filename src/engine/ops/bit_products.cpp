#include <algorithm>
#include <bit>

#include "engine/kernels/bits/conv_bits.h"
#include "engine/kernels/blocking/blocking.h"
#include "engine/ops/common.h"
#include "engine/ops/factories.h"

// Products of bit planes: Binarize and what multiplies its result with weights of few bits.
namespace ounce::engine {
namespace {

/// Weights -1, 0, +1.
bool are_ternary(const Tensor& codes) {
  return codes.dtype() == DType::i2 && is_ternary(codes);
}

/// The planes of weights of one to three bits.
BitFormat weight_format(const Tensor& codes, BitFormat activations) {
  if (activations == kTernaryBits) return kTernaryBits;  // chosen for such weights only
  if (codes.dtype() == DType::u1) return kSignBits;
  const BitFormat two_bits = {BitCoding::kSigned, 2};
  if (codes.dtype() == DType::i3) return {BitCoding::kSigned, 3};
  return activations == kSignBits && are_ternary(codes) ? kTernaryBits : two_bits;
}

BitFormat activation_format(const Node& node) {
  return node.attributes.get_int("is_map", 0) != 0 ? kMapBits : kSignBits;
}

/// What both kinds of products do with their sums: f32, f32 and signs, or signs alone.
class BitOutput {
 public:
  BitOutput(const StepRequest& request, int64_t columns)
      : columns_(columns),
        words_(BitFormat::plane_words(columns)),
        plan_(integer_output(request, columns)) {
    const AttributeMap& attributes = request.node.attributes;
    if (const Tensor* shift = attributes.get_tensor("sign_shift")) sign_shift_ = shift->to_f32();
    bits_only_ = attributes.get_int("bits_only", 0) != 0;
    if (!bits_only_) return;
    std::vector<float> bias(static_cast<size_t>(columns), 0.0F);
    if (plan_.bias.defined()) bias = plan_.bias.to_f32();
    for (size_t c = 0; c < sign_shift_.size(); ++c) bias[c] += sign_shift_[c];
    thresholds_ = fold_sign_thresholds({plan_.scales.data(), static_cast<size_t>(columns)}, bias);
  }

  IntegerEpilogue bind(const RunContext& context, const Node& node) const {
    IntegerEpilogue epilogue = ounce::engine::bind(plan_, context, node, columns_);
    if (bits_only_) {
      epilogue.output = IntegerOutput::kBits;
      epilogue.ldc = words_;
      epilogue.thresholds = thresholds_.thresholds.data();
      epilogue.flips = thresholds_.flips.data();
    } else if (node.output(1) != kNoValue) {
      epilogue.sign_bits = context.at<void>(node.output(1));
      epilogue.sign_stride = words_;
      epilogue.sign_shift = sign_shift_.empty() ? nullptr : sign_shift_.data();
    }
    return epilogue;
  }

 private:
  int64_t columns_;
  int64_t words_;
  IntegerOutputPlan plan_;
  std::vector<float> sign_shift_;
  bool bits_only_ = false;
  SignThresholds thresholds_;
};

int64_t packed_bytes(const PackedBits& packed) {
  return static_cast<int64_t>(packed.data.size() * sizeof(packed.data[0]));
}

Multiplication multiplication_of(BitFormat weights, BitFormat activations) {
  // The planes of ternary weights meet signs in one count, masked; ternary activations in two, of
  // products that are not zero and of those that are negative.
  const int products =
      weights == kTernaryBits ? activations.planes : weights.planes * activations.planes;
  return {Arithmetic::kBits, weights.planes, activations.planes, products,
          activations == kTernaryBits};
}

/// The addend of a float output, element by element as the output is written.
ValueId residual_of_floats(const Node& node) {
  return node.attributes.get_int("bits_only", 0) != 0 ? kNoValue : node.input(3);
}

/// What convolutions of bits share, whether their input comes as bits or as codes.
class PackedConvStep : public Step {
 public:
  PackedConvStep(const StepRequest& request, const ConvShape& shape)
      : node_(request.node), shape_(shape), threads_(request.threads) {}

  size_t scratch_bytes() const override {
    return conv_bits_scratch_bytes(packed_, shape_, threads_);
  }
  int64_t weight_bytes() const override { return packed_bytes(packed_); }
  std::string_view kernel() const override { return "conv_bits"; }
  Multiplication multiplication() const override {
    const bool spread = !packed_.groups.empty();  // groups may need a format with a zero
    return multiplication_of(spread ? packed_.groups.front().format : packed_.format,
                             packed_.activations.format);
  }

 protected:
  /// `bias`: in accumulator units, or null.
  void pack(const StepRequest& request, const BitActivations& activations, const int32_t* bias) {
    const Tensor& weight = *request.constant(node_.input(1));
    const std::vector<int8_t> values = to_ohwi<int8_t>(cast(weight, DType::i8));
    const BitFormat format = weight_format(weight, activations.format);
    const Tensor* offsets = node_.attributes.get_tensor("product_offsets");
    if (offsets == nullptr) {
      packed_ = pack_conv_bits(values.data(), shape_, format, activations, bias);
      return;
    }
    std::vector<float> scales = node_.attributes.get_tensor("product_scales")->to_f32();
    if (scales.size() == 1) scales.resize(static_cast<size_t>(shape_.out_channels), scales[0]);
    ValueShift shift = {
        node_.attributes.get_float("x_center", 0.0F), scales, offsets->data<float>(), {}};
    if (const Tensor* float_bias = request.constant(node_.input(2))) {
      shift.bias = float_bias->data<float>();
    }
    packed_ = pack_conv_bits(values.data(), shape_, format, activations, bias, &shift);
  }

  Node node_;
  ConvShape shape_;
  int threads_;
  PackedConvBits packed_;
};

/// The same for matrix products.
class PackedMatMulStep : public Step {
 public:
  PackedMatMulStep(const StepRequest& request, const MatrixShape& shape)
      : node_(request.node), shape_(shape), threads_(request.threads) {}

  size_t scratch_bytes() const override {
    return gemm_bits_scratch_bytes(shape_.m, shape_.n, shape_.k, threads_);
  }
  int64_t weight_bytes() const override { return packed_bytes(packed_); }
  std::string_view kernel() const override { return "gemm_bits"; }
  Multiplication multiplication() const override {
    return multiplication_of(packed_.format, packed_.activations.format);
  }

 protected:
  void pack(const StepRequest& request, const BitActivations& activations, const int32_t* bias) {
    const Tensor& weight = *request.constant(node_.input(1));
    packed_ = pack_bits(cast(weight, DType::i8).data<int8_t>().data(), 1, shape_.k, shape_.n,
                        weight_layout(node_), weight_format(weight, activations.format),
                        activations, bias);
  }

  Node node_;
  MatrixShape shape_;
  int threads_;
  PackedBits packed_;
};

class BitConvStep final : public PackedConvStep {
 public:
  explicit BitConvStep(const StepRequest& request)
      : PackedConvStep(request, bit_shape(request)), output_(request, shape_.out_channels) {
    pack(request, {activation_format(node_), 0}, nullptr);
  }

  void run(const RunContext& context) override {
    conv_bits(context.kernels, context.at<const uint64_t>(node_.input(0)), packed_, shape_,
              output_.bind(context, node_));
  }
  ValueId overwritable() const override { return residual_of_floats(node_); }

 private:
  /// The image and, where only signs leave, the output are words: their channels are counted apart.
  static ConvShape bit_shape(const StepRequest& request) {
    ConvShape shape = conv_shape(request);
    shape.in_channels = request.node.attributes.get_int("x_channels", 0);
    shape.out_channels = request.constant(request.node.input(1))->shape()[0];
    return shape;
  }

  BitOutput output_;
};

class BitMatMulStep final : public PackedMatMulStep {
 public:
  explicit BitMatMulStep(const StepRequest& request)
      : PackedMatMulStep(request, bit_shape(request)), output_(request, shape_.n) {
    pack(request, {activation_format(node_), 0}, nullptr);
  }

  void run(const RunContext& context) override {
    gemm_bits(context.kernels, context.at<const uint64_t>(node_.input(0)),
              BitFormat::plane_words(shape_.k), packed_, shape_.m, output_.bind(context, node_));
  }
  ValueId overwritable() const override { return residual_of_floats(node_); }

 private:
  static MatrixShape bit_shape(const StepRequest& request) {
    const Shape words = request.shape(request.node.input(0));
    const Shape& weight = request.constant(request.node.input(1))->shape();
    const bool n_by_k = weight_layout(request.node) == WeightLayout::kNxK;
    MatrixShape shape;
    shape.k = weight[n_by_k ? 1 : 0];
    shape.n = weight[n_by_k ? 0 : 1];
    shape.m = words.back() == 0 ? 0 : element_count(words) / words.back();
    return shape;
  }

  BitOutput output_;
};

/// Activations of an integer product: unsigned codes of few bits, as planes. Where they and the
/// weights are -1, 0, +1, they are packed as these values: two counts do what takes two planes by
/// two four.
BitActivations code_activations(const StepRequest& request) {
  const Node& node = request.node;
  const auto largest = static_cast<unsigned>(node.attributes.get_int("x_max", 255));
  const auto zero_point = static_cast<int32_t>(node.attributes.get_int("x_zero_point", 0));
  if (largest == 2 && zero_point == 1 && are_ternary(*request.constant(node.input(1)))) {
    return {kTernaryBits, 0};
  }
  return {{BitCoding::kUnsigned, std::max(1, static_cast<int>(std::bit_width(largest)))},
          zero_point};
}

/// Scratch of a step, cut in two: the codes of its input as planes, and the rest for the product.
struct PlanesOfCodes {
  PlanesOfCodes(const RunContext& context, const uint8_t* codes, int64_t rows, int64_t channels,
                BitFormat format)
      : cursor(context.kernels.scratch),
        bits(cursor.take<uint64_t>(rows * format.words(channels))),
        rest{context.kernels.pool, cursor.rest(context.kernels.scratch)} {
    if (format == kTernaryBits) {
      pack_ternary_codes(rest, codes, channels, rows, channels, bits);
    } else {
      pack_codes(rest, codes, channels, rows, channels, format.planes, bits);
    }
  }
  static size_t need(int64_t rows, int64_t channels, BitFormat format) {
    return ScratchCursor::need<uint64_t>(rows * format.words(channels));
  }

  ScratchCursor cursor;
  uint64_t* bits;
  Context rest;
};

/// An integer convolution whose codes have at most three bits.
class PlaneConvStep final : public PackedConvStep {
 public:
  explicit PlaneConvStep(const StepRequest& request)
      : PackedConvStep(request, conv_shape(request)),
        output_(integer_output(request, shape_.out_channels)),
        pixels_(shape_.batch * shape_.in_h * shape_.in_w) {
    pack(request, code_activations(request), integer_bias(request));
  }

  void run(const RunContext& context) override {
    const PlanesOfCodes x(context, context.at<const uint8_t>(node_.input(0)), pixels_,
                          shape_.in_channels, packed_.activations.format);
    conv_bits(x.rest, x.bits, packed_, shape_, bind(output_, context, node_, shape_.out_channels));
  }
  size_t scratch_bytes() const override {
    return PlanesOfCodes::need(pixels_, shape_.in_channels, packed_.activations.format) +
           PackedConvStep::scratch_bytes();
  }

 private:
  IntegerOutputPlan output_;
  int64_t pixels_;
};

/// The same for a matrix product.
class PlaneMatMulStep final : public PackedMatMulStep {
 public:
  explicit PlaneMatMulStep(const StepRequest& request)
      : PackedMatMulStep(request, matrix_shape(request)),
        output_(integer_output(request, shape_.n)) {
    pack(request, code_activations(request), integer_bias(request));
  }

  void run(const RunContext& context) override {
    const BitFormat format = packed_.activations.format;
    const PlanesOfCodes x(context, context.at<const uint8_t>(node_.input(0)), shape_.m, shape_.k,
                          format);
    gemm_bits(x.rest, x.bits, format.words(shape_.k), packed_, shape_.m,
              bind(output_, context, node_, shape_.n));
  }
  size_t scratch_bytes() const override {
    return PlanesOfCodes::need(shape_.m, shape_.k, packed_.activations.format) +
           PackedMatMulStep::scratch_bytes();
  }

 private:
  IntegerOutputPlan output_;
};

}  // namespace

std::unique_ptr<Step> make_bit_conv(const StepRequest& request) {
  return std::make_unique<BitConvStep>(request);
}

std::unique_ptr<Step> make_bit_matmul(const StepRequest& request) {
  return std::make_unique<BitMatMulStep>(request);
}

std::unique_ptr<Step> make_plane_conv(const StepRequest& request) {
  return std::make_unique<PlaneConvStep>(request);
}

std::unique_ptr<Step> make_plane_matmul(const StepRequest& request) {
  return std::make_unique<PlaneMatMulStep>(request);
}

}  // namespace ounce::engine
