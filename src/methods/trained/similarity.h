#pragma once

#include <ATen/ATen.h>

namespace ounce::methods {

/// Distribution-guided distillation (Q-ViT, arXiv 2210.06707, sheet section 4.3) of one value of
/// `student` and `teacher`, both [batch, .., tokens, features]: with G~ = X X^T, its rows divided
/// by their length, the distance || G~S - G~T || summed over all but the batch, of which it is the
/// mean. A scalar; the gradient is 0 where a distance is 0, and none reaches the teacher.
at::Tensor similarity_distance(const at::Tensor& student, const at::Tensor& teacher);

}  // namespace ounce::methods
