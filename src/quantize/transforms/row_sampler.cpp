#include "quantize/transforms/row_sampler.h"

#include <algorithm>

#include "graph/error.h"
#include "quantize/tapped_run.h"

namespace ounce::quantize {

int64_t count_runs(InputSource& source) {
  if (const auto size = source.size()) return *size;
  int64_t count = 0;
  source.restart();
  while (source.next()) ++count;
  return count;
}

void append_rows(const Tensor& tensor, int64_t wanted, std::vector<float>& rows) {
  const int64_t width = tensor.rank() > 0 ? tensor.shape().back() : 1;
  const int64_t count = tensor.size() / std::max<int64_t>(width, 1);
  const int64_t kept = std::min(wanted, count);
  for (int64_t i = 0; i < kept; ++i) {
    const float* row = tensor.data<float>().data() + i * count / kept * width;
    rows.insert(rows.end(), row, row + width);
  }
}

SampledRows sample_rows(const Graph& graph, const std::vector<std::string>& values,
                        InputSource& source, int64_t rows, int threads, const Progress& progress) {
  const int64_t runs = count_runs(source);
  if (runs == 0) throw Error("the calibration data is empty");
  std::map<std::string, std::vector<float>, std::less<>> kept;
  std::map<std::string, int64_t, std::less<>> widths;
  TappedRun run(graph, values, threads);
  int64_t done = 0;
  for_each_run(source, "sampling rows", progress, [&](const std::vector<Tensor>& inputs) {
    ++done;
    run.run(inputs, [&](std::string_view name, const Tensor& tensor) {
      const int64_t width = tensor.rank() > 0 ? tensor.shape().back() : 1;
      std::vector<float>& mine = kept[std::string(name)];
      widths[std::string(name)] = width;
      // As many as make the share of the runs done so far.
      append_rows(tensor, rows * done / runs - static_cast<int64_t>(mine.size()) / width, mine);
    });
  });
  SampledRows result;
  for (auto& [name, numbers] : kept) {
    const int64_t width = widths[name];
    result.emplace(name,
                   Tensor::of(numbers, {static_cast<int64_t>(numbers.size()) / width, width}));
  }
  return result;
}

}  // namespace ounce::quantize
