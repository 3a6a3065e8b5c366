#include <utility>

#include "engine/kernels/bits/gemm_bits.h"
#include "engine/kernels/blocking/batch_items.h"
#include "engine/kernels/blocking/blocking.h"
#include "engine/ops/batched.h"
#include "engine/ops/factories.h"
#include "engine/ops/pack_bits.h"

// Products of bits whose both operands are activations.
namespace ounce::engine {
namespace {

/// The matrices of an operand as bits: signs or, with `map_scales` (one, or one a head), maps.
class PackedMatrices {
 public:
  /// Leading axes of the view broadcast to `batch`, that of the product. Rows of its matrices, or
  /// columns where these are contiguous, become rows of bits.
  PackedMatrices(const StridedView& view, const MatrixLayout& layout, const Shape& batch,
                 const std::vector<float>& map_scales)
      : stride_(layout.stride), rows_(view.shape[view.shape.size() - 2]) {
    channels_ = view.shape.back();
    if (layout.layout == WeightLayout::kNxK) std::swap(rows_, channels_);
    Shape packed = batch_of(view.shape);
    sources_ = matrix_offsets(view, packed);
    packed.insert(packed.end(), {rows_, row_words()});
    offsets_ = matrix_offsets(contiguous_view(packed), batch);
    for (const float scale : map_scales) {
      shifts_.insert(shifts_.end(), static_cast<size_t>(channels_), map_shift(scale));
    }
  }

  /// 64-bit words of a row, and of everything.
  int64_t row_words() const { return BitFormat::plane_words(channels_); }
  int64_t words() const { return count() * rows_ * row_words(); }
  /// The first word of what item `i` of the product's batch reads.
  int64_t offset(size_t i) const { return offsets_[i]; }

  void pack(const Context& context, const float* x, uint64_t* bits) const {
    for_items(context, count(), 0, [&](const Context& own, int64_t i) {
      const auto matrix = static_cast<size_t>(i);
      const size_t head = matrix * static_cast<size_t>(channels_);
      const float* shift = shifts_.empty() ? nullptr : &shifts_[head % shifts_.size()];
      uint64_t* rows = bits + i * rows_ * row_words();
      pack_signs(own, x + sources_[matrix], stride_, rows_, channels_, shift, row_words(), rows);
      if (shift != nullptr) invert_bits(rows, rows_, channels_);
    });
  }

 private:
  int64_t count() const { return static_cast<int64_t>(sources_.size()); }

  int64_t stride_, rows_, channels_;
  std::vector<int64_t> sources_;  // first element of every matrix
  std::vector<int64_t> offsets_;
  std::vector<float> shifts_;  // [1 or heads, channels] of map_shift, or empty
};

class BitBatchMatMulStep final : public Step {
 public:
  explicit BitBatchMatMulStep(const StepRequest& request)
      : BitBatchMatMulStep(request, operand_view(request, 0), operand_view(request, 1),
                           result_view(request)) {}

  void run(const RunContext& context) override {
    ScratchCursor cursor(context.kernels.scratch);
    auto* a = cursor.take<uint64_t>(a_.words());
    auto* b = cursor.take<uint64_t>(b_.words());
    a_.pack(context.kernels, context.at<const float>(node_.input(0)), a);
    b_.pack(context.kernels, context.at<const float>(node_.input(1)), b);
    auto* c = context.at<float>(node_.output(0));
    for (size_t i = 0; i < items_.size(); ++i) {
      items_[i] = {a + a_.offset(i), b + b_.offset(i), c + plan_.c_offsets[i],
                   scales_.data() + i * columns_ % scales_.size()};
    }
    matmul_bits({context.kernels.pool, cursor.rest(context.kernels.scratch)}, items_, shape_,
                epilogue_);
  }
  size_t scratch_bytes() const override {
    return ScratchCursor::need<uint64_t>(a_.words()) + ScratchCursor::need<uint64_t>(b_.words()) +
           matmul_bits_scratch_bytes(shape_, static_cast<int64_t>(items_.size()), threads_);
  }
  std::string_view kernel() const override { return "matmul_bits"; }
  Multiplication multiplication() const override { return {Arithmetic::kBits, 1, 1, 1}; }

 private:
  BitBatchMatMulStep(const StepRequest& request, const StridedView& a, const StridedView& b,
                     const StridedView& c)
      : node_(request.node),
        threads_(request.threads),
        plan_(batch_plan(a, b, c)),
        a_(a, {WeightLayout::kKxN, plan_.lda}, batch_of(c.shape), numbers("map_scales")),
        b_(b, plan_.b, batch_of(c.shape), {}),
        columns_(static_cast<size_t>(round_up(plan_.n, kPanelColumns))),
        items_(plan_.count()) {
    shape_ = {plan_.m,
              plan_.n,
              plan_.k,
              a_.row_words(),
              b_.row_words(),
              plan_.b.layout,
              node_.attributes.has("map_scales") ? kMapBits : kSignBits};
    epilogue_.output = IntegerOutput::kF32;
    epilogue_.ldc = plan_.ldc;
    for (const float scale : numbers("product_scales")) {
      scales_.insert(scales_.end(), columns_, scale);
    }
  }

  /// Those of an attribute, or none.
  std::vector<float> numbers(const char* name) const {
    const Tensor* tensor = node_.attributes.get_tensor(name);
    return tensor == nullptr ? std::vector<float>{} : tensor->to_f32();
  }

  Node node_;
  int threads_;
  BatchPlan plan_;
  PackedMatrices a_, b_;
  size_t columns_;               // of whole panels
  AlignedVector<float> scales_;  // [1 or heads, columns_]
  std::vector<MatmulBitsItem> items_;
  MatmulBitsShape shape_;
  IntegerEpilogue epilogue_;
};

}  // namespace

std::unique_ptr<Step> make_bit_batch_matmul(const StepRequest& request) {
  return std::make_unique<BitBatchMatMulStep>(request);
}

}  // namespace ounce::engine
