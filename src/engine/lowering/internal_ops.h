#pragma once

#include <string_view>

/// Operators that exist only between lowering and the plan. They never appear in a file.
///
/// Attributes they share:
///   activation, alpha, beta   epilogue activation (names of lowering/activation.h)
///   activation_first          1: y = act(acc + bias) + residual, else act(acc + bias + residual)
///   x_scale, x_zero_point     of the u8 input
///   x_max                     largest code of the u8 input
///   w_scales                  f32 tensor, one entry or one an output channel
///   y_scale, y_zero_point     of the u8 output; absent: the output is f32
///   lo, hi                    clamp of the output codes
///   table                     u8 tensor [256] applied to the clamped codes
///   residual_scale, residual_zero_point   of a u8 residual
///   fused_nodes               names of the graph nodes it stands for
namespace ounce::engine::internal {

/// (x, w constant, bias?, residual?) channels-first until the layout pass, then channels-last with
/// the attribute `channels_last`. Attributes of Conv with `pads` explicit.
inline constexpr std::string_view kConv = "engine.Conv";
/// The same for ConvTranspose; `pads` hold the padding at the beginning.
inline constexpr std::string_view kConvTranspose = "engine.ConvTranspose";
/// (x u8, w s8 constant, bias i32 constant?, residual?) -> u8 or f32
inline constexpr std::string_view kQConv = "engine.QConv";
/// (x [.., K], w constant [K, N], bias?, residual?)
inline constexpr std::string_view kMatMul = "engine.MatMul";
/// (x u8 [.., K], w s8 constant [K, N], bias i32 constant?, residual?) -> u8 or f32
inline constexpr std::string_view kQMatMul = "engine.QMatMul";
/// (a [.., M, K], b [.., K, N]) both activations; attributes alpha_scale, transpose_b
inline constexpr std::string_view kBatchMatMul = "engine.BatchMatMul";
/// The same on codes; attributes product_scale, a_zero_point, b_zero_point, y_..., lo, hi
inline constexpr std::string_view kQBatchMatMul = "engine.QBatchMatMul";
/// (x f32, w constant u1 / i2 / i3, bias f32 constant?, residual f32?) -> f32. x is read as
/// sign(x + x_shift) * x_scale or, with is_map, (x > x_scale / 2) * x_scale; product_scales =
/// x_scale * w_scales. Of convolutions of signs by signs, also: x_center, added to the signs of x
/// inside of the image, and product_offsets (one a channel), x_scale times what is added to
/// weights. Behind the residual: prelu_before, prelu_slope for negative values, prelu_gain for
/// others (else 1), prelu_after (one a channel). Once operands are packed: x is words u64 [..,
/// words] of x_channels bits; output 1 is the words of sign(y + sign_shift); with bits_only these
/// are output 0.
inline constexpr std::string_view kBitConv = "engine.BitConv";
inline constexpr std::string_view kBitMatMul = "engine.BitMatMul";
/// (a f32 [.., M, K], b f32 [.., K, N]) -> f32: the products of their signs or, with map_scales, of
/// the map (a > map_scale / 2 ? 1 : 0) by the signs of b, times product_scales. Both hold one f32,
/// or one a head, the last axis of the batch.
inline constexpr std::string_view kBitBatchMatMul = "engine.BitBatchMatMul";
/// (x [.., K] f32, or u8 with x_scale and x_zero_point; w signed codes constant [K, N]; bias f32
/// constant?; residual f32?) -> f32. `scales` (f32) and `zero_points` (i8, optional) are [groups,
/// N] or, with n_by_k, [N, groups]; `group` elements of the reduction share one, 0: all. With
/// `dynamic_bits`, f32 x becomes codes of so many bits first, on a grid of its own extent: of all
/// of it or, with `dynamic_per_token`, of each row; `dynamic_symmetric` as DynamicFakeQuant has it.
inline constexpr std::string_view kCodeMatMul = "engine.CodeMatMul";
/// (x f32 [.., channels]) -> u64 [.., words] as the two above read x
inline constexpr std::string_view kPackBits = "engine.PackBits";
/// (q u8 [.., tokens, head_dim], k u8 [.., keys, head_dim], v u8 [.., keys, value_dim]) -> u8 or
/// f32: quantize(softmax(q k' * score_scale)) v on codes; attributes q_zero_point, k_zero_point,
/// v_zero_point, map_scale, map_zero_point, map_max (the largest code), product_scale, y_..., lo,
/// hi. With bits, the map is quantized as by LogQuantize (bits, steps_per_octave, zero_below);
/// product_scale is then that of v.
inline constexpr std::string_view kQAttention = "engine.QAttention";
/// (q [.., tokens, head_dim], k [.., keys, head_dim], v [.., keys, value_dim], all f32) -> f32
/// [.., tokens, value_dim]: attention between their signs (kernels/attention_bits.h). score_scales,
/// map_scales and y_scales hold one f32, or one a head, the last axis of the batch.
/// `biases` [.., tokens, keys] (f32, optional) join the scores; its leading axes broadcast. With
/// q_epsilon, q is normalized over head_dim first: q_gamma, q_beta (f32 tensors, optional); and so
/// is k. With signs_only the output is the words u64 of the signs of the result; view_out is that
/// of the result.
inline constexpr std::string_view kBitAttention = "engine.BitAttention";
/// (x u8) -> u8 by `table`
inline constexpr std::string_view kLookup = "engine.Lookup";
/// (a u8, b u8) -> u8; attributes a_scale, a_zero_point, b_scale, b_zero_point, y_..., lo, hi
inline constexpr std::string_view kQAdd = "engine.QAdd";
inline constexpr std::string_view kQMul = "engine.QMul";
/// (x u8) -> u8; attributes of AveragePool or GlobalAveragePool, x_..., y_...
inline constexpr std::string_view kQAveragePool = "engine.QAveragePool";
inline constexpr std::string_view kQGlobalAveragePool = "engine.QGlobalAveragePool";
/// Pools over channels-last images.
inline constexpr std::string_view kMaxPool = "engine.MaxPool";
inline constexpr std::string_view kAveragePool = "engine.AveragePool";
inline constexpr std::string_view kGlobalAveragePool = "engine.GlobalAveragePool";

}  // namespace ounce::engine::internal
