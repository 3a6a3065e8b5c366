#include "methods/trained/similarity.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "train/matrix_product.h"
#include "train/vector_clones.h"

#include "train/row_sums.h"

namespace ounce::methods {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using train::dot;

constexpr float kLeastLength = 1e-12F;

at::Tensor gram(const at::Tensor& x) {
  return train::matrix_product(x, x.transpose(-1, -2));
}

/// Divides the rows of a matrix [tokens, tokens] by their lengths, which it returns in `lengths`.
OUNCE_VECTOR_CLONES void normalize_rows(float* matrix, int64_t tokens, float* lengths) {
  for (int64_t i = 0; i < tokens; ++i) {
    float* row = matrix + i * tokens;
    lengths[i] = std::max(std::sqrt(dot(row, row, tokens)), kLeastLength);
    const float scale = 1.0F / lengths[i];
    for (int64_t j = 0; j < tokens; ++j) row[j] *= scale;
  }
}

/// The distance of two matrices with rows of length 1; `teacher` becomes its slope by the student's
/// rows before they were divided by `lengths`.
OUNCE_VECTOR_CLONES float distance_and_slope(const float* student, float* teacher,
                                             const float* lengths, int64_t tokens) {
  const int64_t size = tokens * tokens;
  for (int64_t i = 0; i < size; ++i) teacher[i] = student[i] - teacher[i];
  const float distance = std::sqrt(dot(teacher, teacher, size));
  const float inverse = distance > 0.0F ? 1.0F / distance : 0.0F;
  for (int64_t i = 0; i < tokens; ++i) {
    const float* own = student + i * tokens;
    float* slope = teacher + i * tokens;
    // Only what is across the row changes its direction.
    const float along = lengths[i] > kLeastLength ? dot(own, slope, tokens) : 0.0F;
    const float scale = inverse / lengths[i];
    for (int64_t j = 0; j < tokens; ++j) slope[j] = (slope[j] - along * own[j]) * scale;
  }
  return distance;
}

/// Forward makes the gradient, too: matrices are in the cache then, and the loss is but scaled
/// afterwards.
class SimilarityDistance : public torch::autograd::Function<SimilarityDistance> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& student,
                            const at::Tensor& teacher) {
    const at::Tensor own = gram(student);
    at::Tensor slopes = gram(teacher);
    const int64_t tokens = own.size(-1);
    const int64_t count = own.numel() / (tokens * tokens);
    const at::Tensor lengths = at::empty({count, 2, tokens}, own.options());
    const at::Tensor distances = at::empty({count}, own.options());
    auto* a = own.data_ptr<float>();
    auto* b = slopes.data_ptr<float>();
    auto* length = lengths.data_ptr<float>();
    auto* distance = distances.data_ptr<float>();
    at::parallel_for(0, count, 16, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        float* student_matrix = a + i * tokens * tokens;
        float* teacher_matrix = b + i * tokens * tokens;
        float* student_lengths = length + i * 2 * tokens;
        normalize_rows(student_matrix, tokens, student_lengths);
        normalize_rows(teacher_matrix, tokens, student_lengths + tokens);
        distance[i] = distance_and_slope(student_matrix, teacher_matrix, student_lengths, tokens);
      }
    });
    const double share = 1.0 / static_cast<double>(student.size(0));
    if (student.requires_grad()) {
      // Of x x^T by x.
      at::Tensor gradient = train::matrix_product(slopes, student.detach());
      gradient.add_(train::matrix_product(slopes.transpose(-1, -2), student.detach()));
      context->save_for_backward({gradient.mul_(share)});
    }
    return distances.sum() * share;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {context->get_saved_variables()[0] * gradients[0], at::Tensor()};
  }
};

/// The same of any device and type.
at::Tensor distance_by_tensors(const at::Tensor& student, const at::Tensor& teacher) {
  const auto normalized = [](const at::Tensor& x) {
    const at::Tensor matrix = gram(x);
    return matrix / at::linalg_vector_norm(matrix, 2, -1, true).clamp_min(kLeastLength);
  };
  const at::Tensor difference = normalized(student) - normalized(teacher);
  const at::Tensor distances = at::linalg_vector_norm(difference, 2, at::IntArrayRef({-2, -1}));
  return distances.flatten(1).sum(1).mean();
}

}  // namespace

at::Tensor similarity_distance(const at::Tensor& student, const at::Tensor& teacher) {
  const at::Tensor taught = teacher.detach();
  const bool plain = student.is_cpu() && student.scalar_type() == at::kFloat &&
                     student.dim() >= 3 && student.numel() > 0;
  return plain ? SimilarityDistance::apply(student, taught) : distance_by_tensors(student, taught);
}

}  // namespace ounce::methods
