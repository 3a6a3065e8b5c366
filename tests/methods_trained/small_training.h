#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/session.h"
#include "graph/error.h"
#include "methods/trained/method.h"
#include "models/models.h"
#include "settings/settings.h"
#include "tests/methods_trained/parity.h"
#include "tests/methods_trained/small_pictures.h"
#include "train/losses.h"
#include "train/tensor.h"
#include "train/trainer.h"

namespace ounce::testing {

inline const train::Normalization kSmallNormalization = {{0.5F, 0.5F, 0.5F}, {0.25F, 0.25F, 0.25F}};

/// The method of this name with the keys of `toml`, as a stage of a recipe makes it.
inline std::unique_ptr<methods::TrainedMethod> method_of(const std::string& name,
                                                         const std::string& toml = {}) {
  const toml::table table = parse_toml(toml, "stage.toml");
  Settings settings(table, "stage.toml", "stage");
  for (const methods::TrainedMethodRow& row : methods::trained_methods()) {
    if (row.name != name) continue;
    std::unique_ptr<methods::TrainedMethod> method = row.read(settings);
    settings.finish();
    return method;
  }
  throw Error("no method is named " + name);
}

inline train::TrainerOptions small_options(int64_t epochs, double rate) {
  train::TrainerOptions options;
  options.epochs = epochs;
  options.optimizer.learning_rate = rate;
  return options;
}

/// Trains on 512 pictures; `method` adds its loss, which may look at `teacher`, and its steps.
inline bool train_on_pictures(train::Module& module, const train::TrainerOptions& options,
                              methods::TrainedMethod* method = nullptr,
                              const train::Trainer::Report& report = nullptr,
                              train::Module* teacher = nullptr) {
  train::BatchSource::Options batches;
  batches.batch_size = 32;
  batches.normalization = kSmallNormalization;
  const train::BatchSource source(small_pictures(512, 1), batches);
  train::Trainer trainer(module, options);
  std::vector<std::string> taps, teacher_taps;
  if (method != nullptr) taps = method->student_taps(module.graph());
  if (teacher != nullptr) teacher_taps = method->teacher_taps(teacher->graph());
  train::Objective objective;
  objective.loss = [&](const train::Batch& batch, const train::Progress&) {
    const train::Module::Result result = module.forward({&batch.inputs, 1}, taps);
    std::optional<train::Module::Result> taught;
    if (teacher != nullptr) taught = teacher->forward({&batch.inputs, 1}, teacher_taps);
    const at::Tensor loss = train::cross_entropy(result.outputs.at(0), batch);
    const at::Tensor extra = method == nullptr
                                 ? at::Tensor()
                                 : method->loss(module, result, taught ? &*taught : nullptr);
    return extra.defined() ? loss + extra : loss;
  };
  objective.after_step = [&](const train::Progress& progress) {
    if (method != nullptr) method->after_step(module, progress);
  };
  return trainer.run(source, objective, report);
}

inline double accuracy_on_pictures(train::Module& module) {
  return train::accuracy(module, small_pictures(200, 2), kSmallNormalization);
}

/// The engine names the same class of so many pictures as the trainer does, of the frozen network
/// and of `trained`, which it was frozen of, with logits within 1e-3 of their range. `most_off`: so
/// many may differ, where floats of the two round apart before a sign is taken.
inline void expect_parity(train::Module& trained, const Graph& frozen, int64_t most_off = 0,
                          int64_t pictures = 200) {
  const at::Tensor inputs =
      train::normalize(small_pictures(pictures, 2).images, kSmallNormalization);
  const at::NoGradGuard no_grad;
  trained.set_training(false);
  const at::Tensor logits = logits_of(frozen, inputs);
  const auto expect = [&](const Parity& parity) {
    EXPECT_LE(parity.off, most_off);
    EXPECT_LE(parity.other_class, most_off);
  };
  {
    SCOPED_TRACE("frozen");
    expect(parity_of(logits, exact_logits_of(frozen, inputs)));
  }
  {
    SCOPED_TRACE("as trained");
    expect(parity_of(logits, trained(inputs)));
  }
}

/// Steps of the engine's plan for `frozen` whose kernel's name begins so.
inline int64_t kernels_named(const Graph& frozen, const std::string& name) {
  engine::SessionOptions options;
  options.profile = true;
  engine::Session session(frozen, options);
  const Tensor inputs[] = {train::from_torch(at::zeros({1, 3, 16, 16}))};
  session.run(inputs);
  const std::vector<engine::StepProfile> steps = session.profile();
  return std::count_if(steps.begin(), steps.end(), [&](const engine::StepProfile& step) {
    return step.kernel.starts_with(name);
  });
}

}  // namespace ounce::testing
