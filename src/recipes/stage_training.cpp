#include "recipes/stage_training.h"

#include <span>

#include "train/insert.h"
#include "train/losses.h"

namespace ounce::recipes {
namespace {

// The heads of a distilled DeiT (models/models.h): one for the labels, one for the teacher.
const std::string kClassHead = "head.logits";
const std::string kTaughtHead = "head_dist.logits";

train::Module student_of(const Stage& stage, const Graph& network) {
  const train::Student student = stage.trained->student(network);
  return train::Module(student.graph, student.quantizers);
}

}  // namespace

StageTraining::StageTraining(const Stage& stage, const Graph& network, const Graph* teacher)
    : stage_(stage), student_(student_of(stage, network)) {
  const Graph graph = student_.graph();
  seen_.of_student = stage.trained->student_taps(graph);
  if (stage.distillation == Distillation::kHard && graph.find_value(kTaughtHead) != kNoValue) {
    seen_.of_student.push_back(kClassHead);
    seen_.of_student.push_back(kTaughtHead);
  }
  if (teacher == nullptr) return;
  seen_.of_teacher = stage.trained->teacher_taps(*teacher);
  if (stage.distillation != Distillation::kNone || !seen_.of_teacher.empty()) {
    teacher_.emplace(*teacher);
    teacher_->freeze_parameters();
  }
}

train::Objective StageTraining::objective() {
  train::Objective objective;
  objective.loss = [this](const train::Batch& batch, const train::Progress&) {
    return loss(batch);
  };
  objective.after_step = [this](const train::Progress& progress) {
    stage_.trained->after_step(student_, progress);
  };
  return objective;
}

std::map<std::string, double> StageTraining::measures(const at::Tensor& pictures) {
  std::map<std::string, double> all = stage_.trained->measures(student_);
  all.merge(stage_.trained->measures_of(pictures, student_, teacher_ ? &*teacher_ : nullptr));
  return all;
}

/// Labels, teacher, or half of each.
at::Tensor StageTraining::task_loss(const train::Module::Result& own,
                                    const train::Module::Result* taught,
                                    const train::Batch& batch) const {
  const auto labels = [&](const at::Tensor& logits) {
    return train::cross_entropy(logits, batch, stage_.label_smoothing);
  };
  const at::Tensor& logits = own.outputs.at(0);
  if (stage_.distillation == Distillation::kNone) return labels(logits);
  const at::Tensor& teacher = taught->outputs.at(0);
  if (stage_.distillation == Distillation::kHard) {
    const bool two_heads = own.taps.contains(kTaughtHead);
    return 0.5 * (labels(two_heads ? own.taps.at(kClassHead) : logits) +
                  train::hard_distillation(two_heads ? own.taps.at(kTaughtHead) : logits, teacher));
  }
  const at::Tensor soft = train::soft_cross_entropy(logits, teacher);
  return stage_.distillation == Distillation::kSoftOnly ? soft : 0.5 * (soft + labels(logits));
}

/// The task's loss and what the method adds.
at::Tensor StageTraining::loss(const train::Batch& batch) {
  const std::span<const at::Tensor> inputs(&batch.inputs, 1);
  const train::Module::Result own = student_.forward(inputs, seen_.of_student);
  std::optional<train::Module::Result> taught;
  if (teacher_) {
    const at::NoGradGuard no_grad;
    taught = teacher_->forward(inputs, seen_.of_teacher);
  }
  const train::Module::Result* teacher = taught ? &*taught : nullptr;
  const at::Tensor task = task_loss(own, teacher, batch);
  const at::Tensor extra = stage_.trained->loss(student_, own, teacher);
  return extra.defined() ? task + extra : task;
}

}  // namespace ounce::recipes
