#pragma once

#include "engine/reference/common.h"

namespace ounce::engine::reference {

// One function a family file; registry.cpp joins them into the operator table.
std::span<const OperatorEntry> activation_operators();
std::span<const OperatorEntry> arithmetic_operators();
std::span<const OperatorEntry> bitwise_operators();
std::span<const OperatorEntry> comparison_operators();
std::span<const OperatorEntry> convolution_operators();
std::span<const OperatorEntry> detection_operators();
std::span<const OperatorEntry> einsum_operators();
std::span<const OperatorEntry> fused_operators();
std::span<const OperatorEntry> gather_scatter_operators();
std::span<const OperatorEntry> generator_operators();
std::span<const OperatorEntry> grid_sample_operators();
std::span<const OperatorEntry> matmul_operators();
std::span<const OperatorEntry> normalization_operators();
std::span<const OperatorEntry> pooling_operators();
std::span<const OperatorEntry> quantize_operators();
std::span<const OperatorEntry> quantized_compute_operators();
std::span<const OperatorEntry> reduce_operators();
std::span<const OperatorEntry> resize_operators();
std::span<const OperatorEntry> search_operators();
std::span<const OperatorEntry> shape_operators();
std::span<const OperatorEntry> slicing_operators();

}  // namespace ounce::engine::reference
