#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/calibration_inputs.h"
#include "cli/progress.h"
#include "cli/task_options.h"
#include "graph/graph.h"
#include "quantize/source.h"

namespace ounce::cli {

/// What a search looks at.
struct SearchDataOptions {
  DataOptions data;
  std::string eval_data;  // judges in place of a share of `data`
  std::string eval_images;
  int64_t calibration = 0;  // items that calibrate; 0: a third, at most 128
  int64_t judge = 500;      // items that judge, at most; 0: all
};

/// The two shares of the data of a search: what calibrates never judges.
class SearchData {
 public:
  SearchData(const SearchDataOptions& options, const Graph& graph, const std::string& model,
             const TaskArguments& task);
  ~SearchData();

  quantize::InputSource& calibration() const { return *calibration_; }
  /// nullptr when the inputs are no pictures.
  tasks::Task* task() const { return task_.get(); }

  /// "128 of photos.txt calibrate, 372 others judge by top1"
  const std::string& text() const { return text_; }
  /// Of both shares, in order.
  const std::string& hash() const { return hash_; }
  int64_t calibration_items() const { return calibration_->size().value_or(0); }
  int64_t judged_items() const;
  /// "top1", "ap"; "agreement" with the float model where there are no labels, or what is judged is
  /// no share of 1.
  const std::string& metric() const { return metric_; }
  bool is_labelled() const { return labelled_; }

  struct Score {
    std::map<std::string, double> metrics;  // 0 .. 1
    double metric = 0.0;                    // the one that counts
    double loss = 0.0;                      // mean divergence from the float outputs
  };
  /// Judges a model on the judging share. The first one must be the float model: the others are set
  /// against its outputs. `progress` is called after each item with items done and in all.
  Score judge(const Graph& graph, int threads,
              const std::function<void(int64_t, int64_t)>& progress);

  /// Up to `count` inputs of the judging share, spread evenly.
  std::vector<std::vector<Tensor>> some_judged(int64_t count) const;

  /// Pictures of either share that could not be read, known once both were read through.
  std::vector<tasks::SkippedSample> skipped() const;

 private:
  class Judged;
  void split_arrays(std::vector<std::filesystem::path> files, const SearchDataOptions& options,
                    const Graph& graph);
  void split_pictures(const SearchDataOptions& options, const Graph& graph,
                      const std::string& model, const TaskArguments& task);

  std::string text_;
  std::string hash_;
  std::string metric_ = "agreement";
  bool labelled_ = false;
  std::string why_unlabelled_ = "there are no labels";
  std::unique_ptr<tasks::Task> task_;
  std::unique_ptr<tasks::Dataset> calibration_pictures_;
  std::unique_ptr<quantize::InputSource> calibration_;
  std::unique_ptr<Judged> judged_;
  std::vector<std::vector<Tensor>> exact_;  // float outputs, of as many items as memory allows
};

}  // namespace ounce::cli
