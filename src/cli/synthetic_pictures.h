#pragma once

#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "graph/graph.h"
#include "methods/picture_goals.h"
#include "tasks/task.h"

namespace ounce::cli {

/// Pictures made from a network for `--data none`.
class SyntheticPictures {
 public:
  /// Makes them. `options` needs no colours: they come from the task's preprocessing.
  SyntheticPictures(const Graph& graph, const tasks::Task& task, methods::SynthesisOptions options,
                    const Invocation& invocation, Progress& progress);

  const std::vector<Tensor>& inputs() const { return inputs_; }

  /// Writes each into the folder "synthetic" of the output, as .npy, so that another run may take
  /// them by --data, and a contact sheet, which comes back as a data URI too.
  std::string write(const StagedOutput& output, const tasks::Preprocessing& preprocessing) const;

 private:
  std::vector<Tensor> inputs_;
};

}  // namespace ounce::cli
