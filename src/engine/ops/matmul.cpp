#include "engine/ops/common.h"
#include "engine/ops/factories.h"

namespace ounce::engine {
namespace {

/// A matrix product with constant right operand: all leading dimensions are rows.
struct Rows {
  int64_t m = 0, n = 0, k = 0;
};

Rows rows_of(const StepRequest& request) {
  const Shape a = request.shape(request.node.input(0));
  const Shape c = request.shape(request.node.output(0));
  Rows rows;
  rows.k = a.back();
  rows.n = c.empty() ? 1 : c.back();
  rows.m = rows.k == 0 ? 0 : element_count(a) / rows.k;
  return rows;
}

WeightLayout weight_layout(const Node& node) {
  return node.attributes.get_int("n_by_k", 0) != 0 ? WeightLayout::kNxK : WeightLayout::kKxN;
}

class MatMulStep final : public Step {
 public:
  explicit MatMulStep(const StepRequest& request)
      : node_(request.node),
        rows_(rows_of(request)),
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
  Rows rows_;
  FloatOutputPlan output_;
  int threads_;
  PackedF32 packed_;
};

class IntegerMatMulStep final : public Step {
 public:
  explicit IntegerMatMulStep(const StepRequest& request)
      : node_(request.node),
        rows_(rows_of(request)),
        output_(integer_output(request, rows_.n)),
        threads_(request.threads) {
    const Tensor& weight = *request.constant(request.node.input(1));
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
  Rows rows_;
  IntegerOutputPlan output_;
  int threads_;
  PackedS8 packed_;
};

}  // namespace

std::unique_ptr<Step> make_matmul(const StepRequest& request) {
  if (request.shape(request.node.input(0)).empty()) return nullptr;
  return std::make_unique<MatMulStep>(request);
}

std::unique_ptr<Step> make_integer_matmul(const StepRequest& request) {
  return std::make_unique<IntegerMatMulStep>(request);
}

}  // namespace ounce::engine
