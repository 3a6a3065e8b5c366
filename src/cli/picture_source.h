#pragma once

#include <optional>
#include <vector>

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

}  // namespace ounce::cli
