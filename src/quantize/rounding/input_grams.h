#pragma once

#include <functional>
#include <string>
#include <vector>

#include "quantize/plan/plan.h"
#include "quantize/rounding/gptq.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// For each layer of the plan that is a linear layer, or a convolution whose windows do not overlap
/// (single pixels, patches): the sums of products of what it reads in `quantized`, over all rows
/// (tokens, windows) of the data, those of linear layers divided by the roots of their mean
/// squares; for others none. Layers that read the same share them. Reads the data once for every
/// 512 MB.
class InputGrams {
 public:
  InputGrams(const Graph& prepared, const Graph& quantized, const Plan& plan);

  /// Calls `use` once for every layer that has sums, a group of layers at a time.
  void for_each(InputSource& source, int threads, const Progress& progress,
                const std::function<void(size_t layer, const Gram& gram)>& use) const;

 private:
  /// Layers that read one value alike.
  struct Reader {
    ValueId value = kNoValue;
    int64_t size = 0;  // numbers of a row
    Shape kernel;      // of a convolution: height and width of its windows
    std::vector<size_t> layers;
  };
  static ValueId add_gram(Graph& graph, const Reader& reader, const std::string& name);

  const Graph& quantized_;
  std::vector<Reader> readers_;
};

}  // namespace ounce::quantize
