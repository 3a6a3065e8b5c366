#pragma once

#include <ATen/ATen.h>

#include "train/image_set.h"

namespace ounce::train {

// All are means over the batch: scalars.

/// -log softmax(logits)[label]; with `smoothing` s the target is (1 - s) one_hot + s / classes.
/// Mixed targets of the batch go before its labels.
at::Tensor cross_entropy(const at::Tensor& logits, const Batch& batch, double smoothing = 0);

/// -sum_c target_c log softmax(logits)_c of each row. Both [rows, classes], targets sum to 1.
at::Tensor target_cross_entropy(const at::Tensor& logits, const at::Tensor& targets);

/// -sum_c p_c log q_c with p = softmax(teacher / T), q = softmax(student / T), times T^2. The
/// teacher is a constant.
at::Tensor soft_cross_entropy(const at::Tensor& student, const at::Tensor& teacher,
                              double temperature = 1);

/// KL(p || q) of the same, times T^2 (Hinton et al. 2015).
at::Tensor distillation_divergence(const at::Tensor& student, const at::Tensor& teacher,
                                   double temperature = 1);

/// Cross entropy against the class that the teacher names (DeiT's hard distillation).
at::Tensor hard_distillation(const at::Tensor& student, const at::Tensor& teacher);

}  // namespace ounce::train
