#include "quantize/source.h"

namespace ounce::quantize {
namespace {

[[noreturn]] void refuse_empty() {
  throw Error("the calibration data is empty", {}, "a folder with at least one readable picture");
}

}  // namespace

std::vector<Tensor> first_run(InputSource& source) {
  source.restart();
  auto run = source.next();
  if (!run) refuse_empty();
  return std::move(*run);
}

std::vector<Shape> shapes_of(const std::vector<Tensor>& tensors) {
  std::vector<Shape> shapes;
  for (const Tensor& tensor : tensors) shapes.push_back(tensor.shape());
  return shapes;
}

void for_each_run(InputSource& source, std::string_view stage, const Progress& progress,
                  const std::function<void(const std::vector<Tensor>&)>& use) {
  const int64_t total = source.size().value_or(0);
  int64_t done = 0;
  progress.step(stage, done, total);
  source.restart();
  while (const auto run = source.next()) {
    use(*run);
    progress.step(stage, ++done, total);
  }
  if (done == 0) refuse_empty();
}

}  // namespace ounce::quantize
