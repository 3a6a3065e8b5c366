#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/graph.h"
#include "quantize/options.h"

/// Layers on their own, run on a few rows of what they read, exactly and quantized: what a
/// transform is judged by before it is kept.
namespace ounce::quantize {

/// Signal and noise of results, squared and summed.
struct Strength {
  double signal = 0.0;
  double noise = 0.0;
  Strength& operator+=(const Strength& other);
};

/// Of several layers that matter alike: the mean of what each loses of its own signal, in decibels.
double mean_decibels(std::span<const Strength> layers);

/// A linear layer on its own.
struct LinearLayer {
  Tensor weights;  // [inputs, outputs]
  LayerSettings settings;
};

/// A MatMul or Gemm of a graph with weights [inputs, outputs], whichever way they lie.
LinearLayer linear_layer(const Graph& graph, const GraphIndex& index, int node,
                         const Options& options);

/// What the rows are as a layer of these settings reads them: on a grid over all of them.
Tensor quantized_rows(const Tensor& rows, const LayerSettings& settings);

/// What the layer makes of `rows` [count, inputs], and what of it is lost where rows and weights
/// are quantized.
Strength strength_of(const Tensor& rows, const LinearLayer& layer);
/// The sum over layers that read the same rows.
Strength strength_of(const Tensor& rows, std::span<const LinearLayer> layers);

}  // namespace ounce::quantize
