#pragma once

#include <string>
#include <vector>

#include "engine/session.h"
#include "graph/graph.h"

namespace ounce::engine {

/// Turns a graph whose shapes are all concrete into one of internal operators (internal_ops.h):
/// integer kernels where Q/DQ allow, fused float kernels elsewhere, channels-last images.
///
/// The stages, each a file of its own, run in this order.
void lower(Graph& graph);

/// The first of them: those that turn Q/DQ and Binarize into kernels of codes and bits.
void lower_quantized(Graph& graph);

/// i8 activations between Q and DQ become u8 with the zero point moved by 128 (exact).
void make_activations_unsigned(Graph& graph);

/// Moves DequantizeLinear behind operators that only move elements, so that these work on codes,
/// and removes DQ -> Q pairs with equal parameters.
void sink_dequantize(Graph& graph);

/// Whether a node only moves elements of its input 0, so that it can work on codes.
bool moves_elements(const Node& node);

/// DQ -> Conv / Gemm / MatMul -> [Relu, Clip] -> [Q -> table] becomes one integer node.
void fuse_integer_products(Graph& graph);

/// Binarize -> Conv / Gemm / MatMul with weights of one to three bits -> [shifted PRelu] becomes
/// one node of bits.
void fuse_bit_products(Graph& graph);

/// Attention whose q, k, v and map are Binarize'd becomes one node of bits.
void fuse_bit_attention(Graph& graph);

/// MatMul of two Binarize'd activations becomes one node of bits.
void fuse_bit_batch_products(Graph& graph);

/// DQ -> elementwise -> Q becomes a table, an integer addition, multiplication or mean.
void fuse_integer_elementwise(Graph& graph);

/// Gemm / MatMul of f32 activations, or of codes where weights have scales of groups, with weights
/// that are codes becomes one node.
void fuse_code_products(Graph& graph);

/// DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul becomes one node that quantizes by itself.
void fuse_dynamic_products(Graph& graph);

/// Integer product -> Softmax -> QuantizeLinear -> integer product becomes one node; LogQuantize
/// for QuantizeLinear, too.
void fuse_integer_attention(Graph& graph);

/// Whatever is still DequantizeLinear of a constant, or a sum with one, becomes a float constant.
void fold_dequantized_constants(Graph& graph);

/// Conv / Gemm / MatMul + bias + residual + activation becomes one node.
void fuse_float(Graph& graph);

/// Clip / Relu -> QuantizeLinear becomes one node, which clamps the codes that it makes to its
/// attributes `lo` and `hi`. Behind all that looks for the Clip.
void absorb_clamps(Graph& graph);

/// Images between convolutions become channels-last; Transpose nodes mark where they change.
void assign_layout(Graph& graph);

/// Attention between signs writes the signs of its result where nothing else of it is read. Behind
/// absorb_views.
void pack_attention_signs(Graph& graph);

/// Products of bits read packed bits: made once for all that read the same, and where a product
/// makes what is packed, by its epilogue.
void pack_bit_operands(Graph& graph);

}  // namespace ounce::engine
