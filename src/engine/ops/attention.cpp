#include "engine/kernels/attention.h"
#include "engine/kernels/gemm_f32.h"
#include "engine/kernels/gemm_u8s8.h"
#include "engine/ops/batched.h"
#include "engine/ops/factories.h"

// Matrix products whose both operands are activations, and softmax attention made of two of them.
namespace ounce::engine {
namespace {

MatmulF32Shape float_shape(const BatchPlan& plan, float alpha) {
  MatmulF32Shape shape;
  shape.m = plan.m;
  shape.n = plan.n;
  shape.k = plan.k;
  shape.lda = plan.lda;
  shape.ldb = plan.b.stride;
  shape.ldc = plan.ldc;
  shape.b_layout = plan.b.layout;
  shape.alpha = alpha;
  return shape;
}

class BatchMatMulStep final : public Step {
 public:
  explicit BatchMatMulStep(const StepRequest& request)
      : node_(request.node),
        plan_(batch_plan(operand_view(request, 0), operand_view(request, 1), result_view(request))),
        shape_(float_shape(plan_, 1.0F)),
        threads_(request.threads),
        items_(plan_.count()) {}

  void run(const RunContext& context) override {
    const auto* a = context.at<const float>(node_.input(0));
    const auto* b = context.at<const float>(node_.input(1));
    auto* c = context.at<float>(node_.output(0));
    for (size_t i = 0; i < items_.size(); ++i) {
      items_[i] = {a + plan_.a_offsets[i], b + plan_.b_offsets[i], c + plan_.c_offsets[i]};
    }
    matmul_f32(context.kernels, items_, shape_, Epilogue{});
  }
  size_t scratch_bytes() const override {
    return matmul_f32_scratch_bytes(shape_, static_cast<int64_t>(items_.size()), threads_);
  }
  std::string_view kernel() const override { return "matmul_f32"; }

 private:
  Node node_;
  BatchPlan plan_;
  MatmulF32Shape shape_;
  int threads_;
  std::vector<MatmulF32Item> items_;
};

class IntegerBatchMatMulStep final : public Step {
 public:
  explicit IntegerBatchMatMulStep(const StepRequest& request)
      : node_(request.node),
        plan_(batch_plan(operand_view(request, 0), operand_view(request, 1), result_view(request))),
        threads_(request.threads),
        items_(plan_.count()) {
    const AttributeMap& attributes = node_.attributes;
    shape_.m = plan_.m;
    shape_.n = plan_.n;
    shape_.k = plan_.k;
    shape_.lda = plan_.lda;
    shape_.ldb = plan_.b.stride;
    shape_.b_layout = plan_.b.layout;
    shape_.a_zero_point = static_cast<int32_t>(attributes.get_int("a_zero_point", 0));
    shape_.b_zero_point = static_cast<int32_t>(attributes.get_int("b_zero_point", 0));
    float scale = attributes.get_float("product_scale", 1.0F);
    epilogue_.output = IntegerOutput::kF32;
    if (attributes.has("y_scale")) {
      epilogue_.output = IntegerOutput::kU8;
      epilogue_.zero_point = static_cast<int32_t>(attributes.get_int("y_zero_point", 0));
      scale /= attributes.get_float("y_scale", 1.0F);
    }
    epilogue_.ldc = plan_.ldc;
    scales_.assign(static_cast<size_t>(round_up(plan_.n, kPanelColumns)), scale);
    epilogue_.scale = scales_.data();
  }

  void run(const RunContext& context) override {
    const auto* a = context.at<const uint8_t>(node_.input(0));
    const auto* b = context.at<const uint8_t>(node_.input(1));
    auto* c = context.at<std::byte>(node_.output(0));
    const int64_t c_bytes = epilogue_.output == IntegerOutput::kU8 ? 1 : sizeof(float);
    for (size_t i = 0; i < items_.size(); ++i) {
      items_[i] = {a + plan_.a_offsets[i], b + plan_.b_offsets[i],
                   c + plan_.c_offsets[i] * c_bytes};
    }
    matmul_u8(context.kernels, items_, shape_, epilogue_);
  }
  size_t scratch_bytes() const override {
    return matmul_u8_scratch_bytes(shape_, static_cast<int64_t>(items_.size()), threads_);
  }
  std::string_view kernel() const override { return "matmul_u8"; }
  Multiplication multiplication() const override { return kInt8Multiplication; }

 private:
  Node node_;
  BatchPlan plan_;
  int threads_;
  MatmulU8Shape shape_;
  IntegerEpilogue epilogue_;
  AlignedVector<float> scales_;
  std::vector<MatmulU8Item> items_;
};

/// softmax(q k' * scale + mask) v over all heads.
class AttentionStep final : public Step {
 public:
  explicit AttentionStep(const StepRequest& request)
      : node_(request.node),
        threads_(request.threads),
        heads_(request),
        scale_(node_.attributes.get_float("scale", 1.0F)),
        items_(heads_.y.size()) {}

  void run(const RunContext& context) override {
    heads_.bind(items_, context.at<const float>(node_.input(0)),
                context.at<const float>(node_.input(1)), context.at<const float>(node_.input(2)),
                context.at<float>(node_.output(0)));
    attention_f32(context.kernels, items_, heads_.shape, scale_,
                  context.maybe<const float>(node_.input(3)));
  }
  size_t scratch_bytes() const override {
    return attention_f32_scratch_bytes(heads_.shape, threads_);
  }
  std::string_view kernel() const override { return "attention_f32"; }

 private:
  Node node_;
  int threads_;
  HeadsPlan heads_;
  float scale_;
  std::vector<AttentionF32Item> items_;
};

}  // namespace

std::unique_ptr<Step> make_batch_matmul(const StepRequest& request) {
  return std::make_unique<BatchMatMulStep>(request);
}

std::unique_ptr<Step> make_integer_batch_matmul(const StepRequest& request) {
  return std::make_unique<IntegerBatchMatMulStep>(request);
}

std::unique_ptr<Step> make_attention(const StepRequest& request) {
  if (!attention_kernel_takes(request.graph, request.node)) return nullptr;
  return std::make_unique<AttentionStep>(request);
}

}  // namespace ounce::engine
