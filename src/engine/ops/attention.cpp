#include <algorithm>
#include <array>

#include "engine/kernels/attention/attention.h"
#include "engine/kernels/attention/log_map.h"
#include "engine/kernels/f32/gemm_f32.h"
#include "engine/kernels/int8/gemm_u8s8.h"
#include "engine/ops/batched.h"
#include "engine/ops/factories.h"
#include "graph/ops/log_grid.h"

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

constexpr int64_t kLargestCode = 255;

/// One scale of sums, for all columns of whole panels.
AlignedVector<float> column_scales(int64_t columns, float scale) {
  return AlignedVector<float>(static_cast<size_t>(round_up(columns, kPanelColumns)), scale);
}

/// What a product of codes does with its sums, by the attributes product_scale and y_...: f32, or
/// codes. Returns the scales, which the epilogue is to point to.
AlignedVector<float> product_output(const AttributeMap& attributes, int64_t columns,
                                    IntegerEpilogue& epilogue) {
  float scale = attributes.get_float("product_scale", 1.0F);
  epilogue.output = IntegerOutput::kF32;
  if (attributes.has("y_scale")) {
    epilogue.output = IntegerOutput::kU8;
    epilogue.zero_point = static_cast<int32_t>(attributes.get_int("y_zero_point", 0));
    epilogue.lo = static_cast<int32_t>(attributes.get_int("lo", 0));
    epilogue.hi = static_cast<int32_t>(attributes.get_int("hi", kLargestCode));
    scale /= attributes.get_float("y_scale", 1.0F);
  }
  return column_scales(columns, scale);
}

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
    scales_ = product_output(attributes, plan_.n, epilogue_);
    epilogue_.scale = scales_.data();
    epilogue_.ldc = plan_.ldc;
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
        items_(heads_.y.size()) {
    if (node_.input(3) == kNoValue) return;
    const StridedView mask = contiguous_view(request.shape(node_.input(3)));
    mask_offsets_ = matrix_offsets(mask, batch_of(result_view(request).shape));
  }

  void run(const RunContext& context) override {
    heads_.bind(items_, context.at<const float>(node_.input(0)),
                context.at<const float>(node_.input(1)), context.at<const float>(node_.input(2)),
                context.at<float>(node_.output(0)));
    const auto* mask = context.maybe<const float>(node_.input(3));
    for (size_t i = 0; i < mask_offsets_.size(); ++i) items_[i].mask = mask + mask_offsets_[i];
    attention_f32(context.kernels, items_, heads_.shape, scale_);
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
  std::vector<int64_t> mask_offsets_;  // of every head, or empty
  std::vector<AttentionF32Item> items_;
};

/// The same on codes, between two products of them.
class IntegerAttentionStep final : public Step {
 public:
  explicit IntegerAttentionStep(const StepRequest& request)
      : node_(request.node), threads_(request.threads), heads_(request), items_(heads_.y.size()) {
    const AttributeMap& attributes = node_.attributes;
    const auto zero_point = [&](const char* name) {
      return static_cast<int32_t>(attributes.get_int(name, 0));
    };
    parameters_.q_zero_point = zero_point("q_zero_point");
    parameters_.k_zero_point = zero_point("k_zero_point");
    parameters_.v_zero_point = zero_point("v_zero_point");
    parameters_.map_zero_point = zero_point("map_zero_point");
    parameters_.map_scale = attributes.get_float("map_scale", 1.0F);
    score_scales_ = column_scales(heads_.shape.keys, attributes.get_float("score_scale", 1.0F));
    parameters_.score_scale = score_scales_.data();
    y_scales_ = product_output(attributes, heads_.shape.value_dim, parameters_.epilogue);
    parameters_.epilogue.scale = y_scales_.data();
    parameters_.epilogue.ldc = heads_.shape.ldy;
    set_planes(attributes);
  }

  void run(const RunContext& context) override {
    const auto* q = context.at<const uint8_t>(node_.input(0));
    const auto* k = context.at<const uint8_t>(node_.input(1));
    const auto* v = context.at<const uint8_t>(node_.input(2));
    if (parameters_.epilogue.output == IntegerOutput::kU8) {
      heads_.bind(items_, q, k, v, context.at<uint8_t>(node_.output(0)));
    } else {
      heads_.bind(items_, q, k, v, context.at<float>(node_.output(0)));
    }
    attention_u8(context.kernels, items_, heads_.shape, parameters_);
  }
  size_t scratch_bytes() const override {
    return attention_u8_scratch_bytes(heads_.shape, threads_);
  }
  std::string_view kernel() const override { return "attention_u8"; }
  Multiplication multiplication() const override { return kInt8Multiplication; }

 private:
  void set_planes(const AttributeMap& attributes) {
    if (attributes.has("bits")) {
      const ops::LogGrid grid = ops::log_grid_of(attributes);
      const auto base = static_cast<LogBase>(grid.steps_per_octave);
      // Codes beyond the highest are zero in every plane.
      parameters_.log_codes = LogMapCodes{base, grid.bits + (grid.zero_below ? 1 : 0)};
      tables_ = log_map_tables(base, grid.bits);
    } else if (const int64_t largest = attributes.get_int("map_max", kLargestCode);
               largest < kLargestCode) {
      tables_.planes = 1;
      tables_.factors[0] = 1.0F;
      for (int64_t code = 0; code <= kLargestCode; ++code) {
        tables_.tables[0][static_cast<size_t>(code)] =
            static_cast<uint8_t>(std::min(code, largest));
      }
    }
    const auto count = static_cast<size_t>(tables_.planes);
    for (size_t i = 0; i < count; ++i) {
      plane_scales_[i] = y_scales_;
      for (float& scale : plane_scales_[i]) scale *= tables_.factors[i];
      planes_[i] = {tables_.tables[i].data(), plane_scales_[i].data()};
    }
    parameters_.planes = std::span(planes_).first(count);
  }

  Node node_;
  int threads_;
  HeadsPlan heads_;
  AlignedVector<float> score_scales_, y_scales_;
  MapTables tables_;
  std::array<AlignedVector<float>, kMostMapPlanes> plane_scales_;  // of the planes' sums
  std::array<MapPlane, kMostMapPlanes> planes_;
  AttentionU8Parameters parameters_;
  std::vector<AttentionU8Item> items_;
};

}  // namespace

std::unique_ptr<Step> make_batch_matmul(const StepRequest& request) {
  return std::make_unique<BatchMatMulStep>(request);
}

std::unique_ptr<Step> make_integer_batch_matmul(const StepRequest& request) {
  return std::make_unique<IntegerBatchMatMulStep>(request);
}

std::unique_ptr<Step> make_integer_attention(const StepRequest& request) {
  return std::make_unique<IntegerAttentionStep>(request);
}

std::unique_ptr<Step> make_attention(const StepRequest& request) {
  if (!attention_kernel_takes(request.graph, request.node)) return nullptr;
  return std::make_unique<AttentionStep>(request);
}

}  // namespace ounce::engine
