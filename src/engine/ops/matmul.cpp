#include "engine/ops/common.h"
#include "engine/ops/factories.h"

namespace ounce::engine {
namespace {

class MatMulStep final : public Step {
 public:
  explicit MatMulStep(const StepRequest& request)
      : node_(request.node),
        rows_(matrix_shape(request)),
        output_(float_output(request, rows_.n)),
        threads_(request.threads) {
    const Tensor& weight = *request.constant(request.node.input(1));
    packed_ = pack_f32(weight.data<float>().data(), rows_.k, rows_.n, weight_layout(request.node));
  }

  void run(const RunContext& context) override {
    gemm_f32(context.kernels, context.at<const float>(node_.input(0)), rows_.k, packed_,
             context.at<float>(node_.output(0)), rows_.n, rows_.m, bind(output_, context, node_));
  }
  size_t scratch_bytes() const override {
    return gemm_f32_scratch_bytes(rows_.m, rows_.n, rows_.k, threads_);
  }
  int64_t weight_bytes() const override {
    return static_cast<int64_t>(packed_.data.size() * sizeof(float));
  }
  std::string_view kernel() const override { return "gemm_f32"; }

 private:
  Node node_;
  MatrixShape rows_;
  FloatOutputPlan output_;
  int threads_;
  PackedF32 packed_;
};

class IntegerMatMulStep final : public Step {
 public:
  explicit IntegerMatMulStep(const StepRequest& request)
      : node_(request.node),
        rows_(matrix_shape(request)),
        output_(integer_output(request, rows_.n)),
        threads_(request.threads) {
    const Tensor weight = cast(*request.constant(request.node.input(1)), DType::i8);
    packed_ = pack_s8(weight.data<int8_t>().data(), rows_.k, rows_.n, weight_layout(request.node),
                      static_cast<int32_t>(request.node.attributes.get_int("x_zero_point", 0)),
                      integer_bias(request));
  }

  void run(const RunContext& context) override {
    gemm_u8s8(context.kernels, context.at<const uint8_t>(node_.input(0)), rows_.k, packed_, rows_.m,
              bind(output_, context, node_, rows_.n));
  }
  size_t scratch_bytes() const override {
    return gemm_u8s8_scratch_bytes(rows_.m, rows_.n, rows_.k, threads_);
  }
  int64_t weight_bytes() const override { return static_cast<int64_t>(packed_.data.size()); }
  std::string_view kernel() const override { return "gemm_u8s8"; }
  Multiplication multiplication() const override { return kInt8Multiplication; }

 private:
  Node node_;
  MatrixShape rows_;
  IntegerOutputPlan output_;
  int threads_;
  PackedS8 packed_;
};

}  // namespace

std::unique_ptr<Step> make_matmul(const StepRequest& request) {
  if (request.shape(request.node.input(0)).empty()) return nullptr;
  return std::make_unique<MatMulStep>(request);
}

std::unique_ptr<Step> make_int8_matmul(const StepRequest& request) {
  return std::make_unique<IntegerMatMulStep>(request);
}

}  // namespace ounce::engine
