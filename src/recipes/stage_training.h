#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "recipes/recipe.h"
#include "train/module.h"
#include "train/trainer.h"

namespace ounce::recipes {

/// A stage ready to train: its method's student of a network, the teacher if it has one, and the
/// loss that the recipe and the method ask for.
class StageTraining {
 public:
  /// `teacher` is the network in f32 that teaches, null when there is none yet. Throws `Error` when
  /// the method does not fit the network.
  StageTraining(const Stage& stage, const Graph& network, const Graph* teacher);

  train::Module& student() { return student_; }
  bool has_teacher() const { return teacher_.has_value(); }

  /// Refers to this object.
  train::Objective objective();

  /// What the method measures of its student, and on these test pictures.
  std::map<std::string, double> measures(const at::Tensor& pictures);

 private:
  /// Names of values that losses look at.
  struct Seen {
    std::vector<std::string> of_student;
    std::vector<std::string> of_teacher;
  };

  at::Tensor loss(const train::Batch& batch);
  at::Tensor task_loss(const train::Module::Result& own, const train::Module::Result* taught,
                       const train::Batch& batch) const;

  const Stage& stage_;
  train::Module student_;
  std::optional<train::Module> teacher_;
  Seen seen_;
};

}  // namespace ounce::recipes
