#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "train/checkpoint.h"
#include "train/image_set.h"
#include "train/module.h"
#include "train/optimizer.h"
#include "train/prefetch.h"
#include "train/schedule.h"

namespace ounce::train {

struct TrainerOptions {
  int64_t epochs = 1;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  double clip_norm = 0;    // of all gradients together; 0: none
  double ema = 0;          // share that the running average of the parameters keeps; 0: none
  int64_t accumulate = 1;  // batches whose gradients are averaged into one step
  int loaders = 1;         // threads that make batches ahead; their number changes nothing else
  std::filesystem::path checkpoint;  // file to write and to resume from; empty: none
  int64_t checkpoint_steps = 0;      // steps between checkpoints; 0: one an epoch
  /// What the run is (the recipe as resolved): a checkpoint of another run is refused.
  std::string fingerprint;
};

/// Where a run stands.
struct Progress {
  int64_t step = 0;   // steps of the optimizer done
  int64_t steps = 0;  // in all
  int64_t epoch = 0;
  double loss = 0;           // mean since the last report
  double learning_rate = 0;  // of the last step
};

/// What a method teaches: a loss of a batch, and what it does between steps.
struct Objective {
  /// Runs the student (and whoever else) and returns a scalar.
  std::function<at::Tensor(const Batch& batch, const Progress& progress)> loss;
  /// After each step of the optimizer; may be empty.
  std::function<void(const Progress& progress)> after_step;
};

/// Runs an objective over a source of batches.
///
/// Deterministic: batches depend on seed and position alone, and a run that was killed goes on from
/// its checkpoint with the weights of a run that was not. The ranks of `world()` share each batch
/// and step together; with statistics of the whole batch they get the weights that one process
/// gets, up to the order of sums. Rank 0 writes the checkpoint.
class Trainer {
 public:
  Trainer(Module& module, TrainerOptions options);

  /// Called after every step; returning false stops the run after a checkpoint.
  using Report = std::function<bool(const Progress& progress)>;
  /// Called at the end of every epoch.
  using EpochEnd = std::function<void(const Progress& progress)>;

  /// Trains to the end, from the checkpoint if there is one. Throws `Error` when the loss is not
  /// finite (naming the first value that is not), or when the checkpoint is of another run.
  /// Returns false when `report` stopped it.
  bool run(const BatchSource& source, const Objective& objective, const Report& report = nullptr,
           const EpochEnd& epoch_end = nullptr);

  /// Puts the averaged parameters in place of the last ones (after the run); nothing without `ema`.
  void use_average();

 private:
  void take_step(Prefetcher& batches, const Objective& objective);
  void average_parameters();
  /// From the checkpoint, or from what rank 0 has.
  void begin();
  void save() const;
  void resume(const Checkpoint& checkpoint);
  [[noreturn]] void explain_loss(const Batch& batch) const;

  Module& module_;
  TrainerOptions options_;
  GroupedOptimizer optimizer_;
  std::map<std::string, at::Tensor> averages_;
  Progress progress_;
};

/// Share of the pictures whose largest logit (first output) is their label, in evaluation mode.
/// The ranks of `world()` share the pictures; all must call it.
double accuracy(Module& module, const ImageSet& set, const Normalization& normalization,
                int64_t batch_size = 256);

/// The first output for all pictures, in evaluation mode and without gradients.
at::Tensor logits_of(Module& module, const ImageSet& set, const Normalization& normalization,
                     int64_t batch_size = 256);

}  // namespace ounce::train
