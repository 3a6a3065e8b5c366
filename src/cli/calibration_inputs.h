#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/progress.h"
#include "cli/task_options.h"
#include "quantize/source.h"
#include "tasks/dataset.h"
#include "tasks/task.h"

namespace ounce::cli {

/// The pictures of a data set as inputs of a network, one a run, prepared as the task says. Data
/// set and task must outlive it.
class PictureSource final : public quantize::InputSource {
 public:
  PictureSource(const tasks::Dataset& dataset, const tasks::Task& task)
      : dataset_(dataset), task_(task), stream_(dataset) {}

  void restart() override { stream_ = tasks::DatasetStream(dataset_); }
  std::optional<std::vector<Tensor>> next() override;
  std::optional<int64_t> size() const override { return dataset_.size(); }

  /// Pictures of the current pass that could not be read.
  const std::vector<tasks::SkippedSample>& skipped() const { return stream_.skipped(); }

 private:
  const tasks::Dataset& dataset_;
  const tasks::Task& task_;
  tasks::DatasetStream stream_;
};

/// The `.npy` files of a folder, by name, each the input of one run of a network with one input.
class ArraySource final : public quantize::InputSource {
 public:
  explicit ArraySource(std::vector<std::filesystem::path> files) : files_(std::move(files)) {}

  void restart() override { position_ = 0; }
  std::optional<std::vector<Tensor>> next() override;
  std::optional<int64_t> size() const override { return static_cast<int64_t>(files_.size()); }

 private:
  std::vector<std::filesystem::path> files_;
  size_t position_ = 0;
};

/// The `.npy` files directly in `folder`, by name; none when it is no folder.
std::vector<std::filesystem::path> arrays_in(const std::filesystem::path& folder);

/// Unlabelled inputs as a command names them: pictures, `.npy` arrays, or random numbers for
/// `--data none`.
class CalibrationInputs {
 public:
  CalibrationInputs(const DataOptions& data, const Graph& graph, const std::string& model_path,
                    const TaskArguments& task, uint64_t seed);

  /// Pictures that were made, the first `limit` of them (0: all).
  CalibrationInputs(const std::vector<Tensor>& pictures, int64_t limit,
                    std::unique_ptr<tasks::Task> task);

  quantize::InputSource& source() const { return *source_; }
  /// nullptr when the inputs are no pictures and nothing is said of any.
  tasks::Task* task() const { return task_.get(); }
  bool has_pictures() const { return dataset_ != nullptr; }
  int64_t items() const { return source_->size().value_or(0); }
  /// "" for random inputs.
  const std::string& hash() const { return hash_; }
  std::vector<tasks::SkippedSample> skipped() const {
    return pictures_ != nullptr ? pictures_->skipped() : std::vector<tasks::SkippedSample>();
  }

 private:
  void use_arrays(std::vector<std::filesystem::path> files, int64_t limit, const Graph& graph);

  std::string hash_;
  std::unique_ptr<tasks::Task> task_;
  std::unique_ptr<tasks::Dataset> dataset_;
  std::unique_ptr<quantize::InputSource> source_;
  const PictureSource* pictures_ = nullptr;  // `source_`, when it reads pictures
};

/// Progress of long quantization work on `progress`, notes to the log, stopped by Ctrl-C.
/// `progress` must outlive them.
quantize::Progress quantize_hooks(Progress& progress);

}  // namespace ounce::cli
