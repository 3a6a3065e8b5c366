#include "cli/picture_source.h"

#include <spdlog/spdlog.h>

#include "cli/interrupt.h"
#include "report/measurement.h"

namespace ounce::cli {

std::optional<std::vector<Tensor>> PictureSource::next() {
  const std::optional<tasks::DatasetStream::Item> item = stream_.next();
  if (!item) return std::nullopt;
  return std::vector<Tensor>{task_.prepare(item->image).pixels};
}

CalibrationInputs::CalibrationInputs(const DataOptions& data, const Graph& graph,
                                     const std::string& model_path, const TaskArguments& task,
                                     uint64_t seed) {
  if (data.data == "none") {
    const std::vector<Shape> shapes = report::input_shapes(graph, {});
    source_ = std::make_unique<quantize::TensorSource>(
        std::vector<std::vector<Tensor>>{report::random_inputs(graph, shapes, seed)});
    return;
  }
  dataset_ = std::make_unique<tasks::Dataset>(open_data(data));
  task_ = make_task(graph, model_path, task);
  auto pictures = std::make_unique<PictureSource>(*dataset_, *task_);
  pictures_ = pictures.get();
  source_ = std::move(pictures);
}

quantize::Progress quantize_hooks(Progress& progress) {
  quantize::Progress hooks;
  hooks.report = [&progress](std::string_view stage, int64_t done, int64_t total) {
    progress.step(std::string(stage), done, total);
  };
  hooks.note = [](std::string_view line) { spdlog::info("{}", line); };
  hooks.interrupted = was_interrupted;
  return hooks;
}

}  // namespace ounce::cli
