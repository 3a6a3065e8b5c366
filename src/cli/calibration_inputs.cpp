#include "cli/calibration_inputs.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cli/interrupt.h"
#include "cli/provenance.h"
#include "formats/npy.h"
#include "graph/error.h"
#include "report/measurement.h"

namespace ounce::cli {

std::vector<std::filesystem::path> arrays_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
    if (entry.path().extension() == ".npy") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::optional<std::vector<Tensor>> PictureSource::next() {
  const std::optional<tasks::DatasetStream::Item> item = stream_.next();
  if (!item) return std::nullopt;
  return std::vector<Tensor>{task_.prepare(*item->sample, item->image).pixels};
}

CalibrationInputs::CalibrationInputs(const DataOptions& data, const Graph& graph,
                                     const std::string& model_path, const TaskArguments& task,
                                     uint64_t seed) {
  // What is said of pictures is stored in the model, whether or not any are read now.
  if (task.any()) task_ = make_task(graph, model_path, task);
  if (data.data == "none") {
    const std::vector<Shape> shapes = report::input_shapes(graph, {});
    source_ = std::make_unique<quantize::TensorSource>(
        std::vector<std::vector<Tensor>>{report::random_inputs(graph, shapes, seed)});
    return;
  }
  if (auto arrays = arrays_in(data.data); !arrays.empty()) {
    use_arrays(std::move(arrays), data.limit, graph);
    return;
  }
  dataset_ = std::make_unique<tasks::Dataset>(open_data(data));
  hash_ = tasks::data_hash(*dataset_);
  if (task_ == nullptr) task_ = make_task(graph, model_path, task);
  auto pictures = std::make_unique<PictureSource>(*dataset_, *task_);
  pictures_ = pictures.get();
  source_ = std::move(pictures);
}

CalibrationInputs::CalibrationInputs(const std::vector<Tensor>& pictures, int64_t limit,
                                     std::unique_ptr<tasks::Task> task)
    : task_(std::move(task)) {
  const size_t count =
      limit > 0 ? std::min(pictures.size(), static_cast<size_t>(limit)) : pictures.size();
  std::vector<std::vector<Tensor>> runs;
  for (size_t i = 0; i < count; ++i) runs.push_back({pictures[i]});
  source_ = std::make_unique<quantize::TensorSource>(std::move(runs));
}

void CalibrationInputs::use_arrays(std::vector<std::filesystem::path> files, int64_t limit,
                                   const Graph& graph) {
  if (graph.inputs.size() != 1) {
    throw Error(
        "arrays feed a model with one input, this one has " + std::to_string(graph.inputs.size()),
        files[0].parent_path().string(), "--data none with --activations 0");
  }
  if (limit > 0) files.resize(std::min(files.size(), static_cast<size_t>(limit)));
  hash_ = file_hash(files);
  source_ = std::make_unique<ArraySource>(std::move(files));
}

std::optional<std::vector<Tensor>> ArraySource::next() {
  if (position_ == files_.size()) return std::nullopt;
  return std::vector<Tensor>{formats::read_npy(files_[position_++])};
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
