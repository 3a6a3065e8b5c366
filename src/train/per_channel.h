#pragma once

#include <ATen/ATen.h>

#include <optional>

namespace ounce::train {

// Functions of `x` [N, C, ...] and a number for each index of axis 1, with their gradients, that
// pass once over f32 values in the memory of a CPU, in whichever layout they lie (a channel's
// values beside each other, or the channels of a place). libtorch's own pass more often, and its
// sum of a PReLU's channels takes ten times as long.

/// `operand` as [C] where it broadcasts along axis 1 of `x` alone ([C, 1, ...] or [1, C, 1, ...])
/// and the functions below take both.
std::optional<at::Tensor> channel_values(const at::Tensor& x, const at::Tensor& operand);

/// x + shift.
at::Tensor shift_channels(const at::Tensor& x, const at::Tensor& shift);
/// x where it is positive, else slope * x.
at::Tensor prelu_channels(const at::Tensor& x, const at::Tensor& slope);

}  // namespace ounce::train
