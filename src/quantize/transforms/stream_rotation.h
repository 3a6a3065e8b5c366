#pragma once

#include <vector>

#include "quantize/transforms/matrix.h"
#include "quantize/transforms/residual_stream.h"
#include "quantize/transforms/transform.h"

namespace ounce::quantize {

/// Multiplies the stream, a row of channels x, by an orthogonal matrix Q [width, width] with
/// Q 1 = 1 (`mean_preserving_rotation`), x' = x Q, and undoes it wherever the stream is read
/// (QuaRot, arXiv 2404.00456, section 4, the offline part; SliceGPT, arXiv 2401.15024, for why it
/// is exact):
///   normalizations: gamma and beta go into the layers behind them, W' = gamma W, b' = b + beta W;
///     what is left commutes with Q: the mean of x Q is that of x, the norm, too;
///   layers behind normalizations, and those that read the stream: W' = Q^T W;
///   layers that write to it: W' = W Q, b' = b Q; constants in it: c' = c Q.
/// The graph computes what it did but for rounding. `stream` must have no obstacle; node indices
/// change where a layer gets a bias that had none.
void rotate_stream(Graph& graph, const ResidualStream& stream, const DoubleMatrix& q);

/// `tensor` with its elements along `axis` as rows times `q`.
Tensor rotated(const Tensor& tensor, int64_t axis, const DoubleMatrix& q);

/// Rotates every residual stream of the graph where the layers that read and write it lose less of
/// their results, on average, than without. A stream that cannot be rotated leaves a record with
/// the reason. What `options` asks of normalizations is counted in on both sides.
void rotate_streams(Graph& graph, const Options& options, InputSource& source,
                    const Progress& progress, std::vector<TransformRecord>& records);

}  // namespace ounce::quantize
