#include "engine/kernels/attention_bits.h"
#include "engine/ops/batched.h"
#include "engine/ops/factories.h"

namespace ounce::engine {
namespace {

class BitAttentionStep final : public Step {
 public:
  explicit BitAttentionStep(const StepRequest& request)
      : node_(request.node), threads_(request.threads) {
    const StridedView q = operand_view(request, 0);
    const StridedView k = operand_view(request, 1);
    const StridedView v = operand_view(request, 2);
    const StridedView y = result_view(request);
    shape_.tokens = q.shape[q.shape.size() - 2];
    shape_.keys = k.shape[k.shape.size() - 2];
    shape_.head_dim = q.shape.back();
    shape_.value_dim = v.shape.back();
    shape_.ldq = row_stride(q);
    shape_.ldk = row_stride(k);
    shape_.ldv = row_stride(v);
    shape_.ldy = row_stride(y);
    const Shape batch = batch_of(y.shape);
    q_offsets_ = matrix_offsets(q, batch);
    k_offsets_ = matrix_offsets(k, batch);
    v_offsets_ = matrix_offsets(v, batch);
    y_offsets_ = matrix_offsets(y, batch);
    prepare_items();
    shape_.q_norm = prepare_norm("q", q_norm_);
    shape_.k_norm = prepare_norm("k", k_norm_);
  }

  void run(const RunContext& context) override {
    const auto* q = context.at<const float>(node_.input(0));
    const auto* k = context.at<const float>(node_.input(1));
    const auto* v = context.at<const float>(node_.input(2));
    auto* y = context.at<float>(node_.output(0));
    for (size_t i = 0; i < items_.size(); ++i) {
      items_[i].q = q + q_offsets_[i];
      items_[i].k = k + k_offsets_[i];
      items_[i].v = v + v_offsets_[i];
      items_[i].y = y + y_offsets_[i];
    }
    attention_bits(context.kernels, items_, shape_);
  }
  size_t scratch_bytes() const override { return attention_bits_scratch_bytes(shape_, threads_); }
  std::string_view kernel() const override { return "attention_bits"; }
  Multiplication multiplication() const override { return {Arithmetic::kBits, 1, 1, 1}; }

 private:
  /// Scales: one for all heads, or one for each of the last axis of the batch.
  void prepare_items() {
    const std::vector<float> scores = node_.attributes.get_tensor("score_scales")->to_f32();
    const std::vector<float> maps = node_.attributes.get_tensor("map_scales")->to_f32();
    const std::vector<float> outputs = node_.attributes.get_tensor("y_scales")->to_f32();
    const auto of_head = [](const std::vector<float>& scales, size_t head) {
      return scales[scales.size() == 1 ? 0 : head % scales.size()];
    };
    const size_t kinds = std::max(scores.size(), maps.size());
    for (size_t head = 0; head < kinds; ++head) {
      softmaxes_.emplace_back(shape_.head_dim, double{of_head(scores, head)},
                              double{of_head(maps, head)});
    }
    items_.resize(y_offsets_.size());
    for (size_t i = 0; i < items_.size(); ++i) {
      items_[i].softmax = &softmaxes_[i % kinds];
      items_[i].y_scale = of_head(outputs, i);
    }
  }

  /// The normalization of operand `name`, or null. Its constants lie in the node's attributes.
  const BitRowNorm* prepare_norm(const std::string& name, BitRowNorm& norm) const {
    const AttributeMap& attributes = node_.attributes;
    if (!attributes.has(name + "_epsilon")) return nullptr;
    norm.epsilon = attributes.get_float(name + "_epsilon", 0.0F);
    const Tensor* gamma = attributes.get_tensor(name + "_gamma");
    const Tensor* beta = attributes.get_tensor(name + "_beta");
    if (gamma != nullptr) norm.gamma = gamma->data<float>().data();
    if (beta != nullptr) norm.beta = beta->data<float>().data();
    return &norm;
  }

  Node node_;
  int threads_;
  BitRowNorm q_norm_, k_norm_;
  BitAttentionShape shape_;
  std::vector<int64_t> q_offsets_, k_offsets_, v_offsets_, y_offsets_;
  std::vector<BitSoftmax> softmaxes_;
  std::vector<BitAttentionItem> items_;
};

}  // namespace

std::unique_ptr<Step> make_bit_attention(const StepRequest& request) {
  return std::make_unique<BitAttentionStep>(request);
}

}  // namespace ounce::engine
