#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/affine.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// How far one tensor is from its exact twin.
struct TensorError {
  double sqnr_db = 0.0;      // 10 log10(sum a^2 / sum (a - b)^2), at most 200
  double cosine = 1.0;       // sum a b / (|a| |b|)
  double relative_l2 = 0.0;  // |a - b| / |a|
};

/// One tensor of the float graph and what quantization makes of it.
struct TensorComparison {
  std::string value;
  std::string node;  // that computes it
  std::string op;
  int64_t elements = 0;  // of one run
  /// With everything before it quantized: what has added up.
  TensorError accumulated;
  /// The piece of the quantized graph that computes it, fed with float inputs: its own doing.
  TensorError own;
};

/// The data of a tensor and the range its quantizer keeps.
struct TensorHistogram {
  std::string value;
  Range data;
  std::vector<uint64_t> counts;  // equal bins over `data`
  Range chosen;
  int bits = 8;
  double own_sqnr_db = 0.0;
};

struct Comparison {
  std::vector<TensorComparison> tensors;  // in order of computation
  /// Value with the lowest own SQNR: the piece that breaks. Empty when nothing is quantized.
  std::string worst;
  /// The first value, in order of computation, whose noise with everything before it quantized is
  /// more than `kBrokenDb` allows. Empty when none is.
  std::string first_broken;
  std::vector<TensorHistogram>
      histograms;  // of the worst tensors that have a quantizer, worst first
  int64_t runs = 0;
};

/// A tensor with less signal to noise than this is broken: noise is a tenth of its signal, the
/// cosine with the exact tensor 0.95.
inline constexpr double kBrokenDb = 10.0;

struct CompareOptions {
  int threads = 1;
  int histograms = 8;
  /// Copies of tensors held at a time. More tensors than fit are looked at in several readings of
  /// the data.
  int64_t budget_bytes = int64_t{256} << 20;
};

/// Compares tensor by tensor over a stream of inputs, in bounded memory. Tensors are matched by
/// name: `quantized` must come from `exact` (or from a graph with the same value names). Throws
/// `Error` when the interfaces differ or no name is shared.
Comparison compare(const Graph& exact, const Graph& quantized, InputSource& source,
                   const CompareOptions& options = {}, const Progress& progress = {});

}  // namespace ounce::quantize
