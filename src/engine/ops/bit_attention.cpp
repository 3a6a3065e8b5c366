#include "engine/kernels/attention/attention_bits.h"
#include "engine/ops/batched.h"
#include "engine/ops/factories.h"

namespace ounce::engine {
namespace {

class BitAttentionStep final : public Step {
 public:
  explicit BitAttentionStep(const StepRequest& request)
      : node_(request.node),
        threads_(request.threads),
        heads_(request),
        signs_only_(node_.attributes.get_int("signs_only", 0) != 0) {
    prepare_items();
    prepare_biases(batch_of(result_view(request).shape));
    norms_.q = prepare_norm("q", q_norm_);
    norms_.k = prepare_norm("k", k_norm_);
  }

  void run(const RunContext& context) override {
    const auto* q = context.at<const float>(node_.input(0));
    const auto* k = context.at<const float>(node_.input(1));
    const auto* v = context.at<const float>(node_.input(2));
    if (signs_only_) {
      bind_signs(q, k, v, context.at<uint64_t>(node_.output(0)));
    } else {
      heads_.bind(items_, q, k, v, context.at<float>(node_.output(0)));
    }
    attention_bits(context.kernels, items_, heads_.shape, norms_);
  }
  size_t scratch_bytes() const override {
    return attention_bits_scratch_bytes(heads_.shape, threads_);
  }
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
      softmaxes_.emplace_back(heads_.shape.head_dim, double{of_head(scores, head)},
                              double{of_head(maps, head)});
    }
    items_.resize(heads_.y.size());
    for (size_t i = 0; i < items_.size(); ++i) {
      items_[i].softmax = &softmaxes_[i % kinds];
      items_[i].y_scale = of_head(outputs, i);
    }
  }

  /// Biases [.., tokens, keys] whose leading axes broadcast to `batch`, that of the heads.
  void prepare_biases(const Shape& batch) {
    const Tensor* biases = node_.attributes.get_tensor("biases");
    if (biases == nullptr) return;
    bias_weights_ = bit_bias_weights(biases->data<float>(), heads_.shape.keys);
    const auto offsets = matrix_offsets(contiguous_view(biases->shape()), batch);
    for (size_t i = 0; i < items_.size(); ++i) {
      items_[i].bias_weights = bias_weights_.data() + offsets[i];
    }
  }

  void bind_signs(const float* q, const float* k, const float* v, uint64_t* words) {
    constexpr int64_t kWordBits = 64;
    for (size_t i = 0; i < items_.size(); ++i) {
      items_[i].q = q + heads_.q[i];
      items_[i].k = k + heads_.k[i];
      items_[i].v = v + heads_.v[i];
      items_[i].signs = words + heads_.y[i] / kWordBits;
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
  HeadsPlan heads_;
  bool signs_only_;
  BitRowNorm q_norm_, k_norm_;
  BitRowNorms norms_;
  std::vector<BitSoftmax> softmaxes_;
  std::vector<uint32_t> bias_weights_;
  std::vector<BitAttentionItem> items_;
};

}  // namespace

std::unique_ptr<Step> make_bit_attention(const StepRequest& request) {
  return std::make_unique<BitAttentionStep>(request);
}

}  // namespace ounce::engine
