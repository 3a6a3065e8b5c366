#include "recipes/run.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "formats/formats.h"
#include "formats/ounce_file/atomic_file.h"
#include "graph/error.h"
#include "recipes/before_training.h"
#include "recipes/initial_network.h"
#include "recipes/pictures.h"
#include "recipes/run_lock.h"
#include "recipes/run_log.h"
#include "recipes/stage_training.h"
#include "tasks/task.h"
#include "train/distributed.h"
#include "train/freeze.h"
#include "train/insert.h"
#include "train/threads.h"

namespace ounce::recipes {
namespace {

namespace fs = std::filesystem;

/// Test pictures that methods measure something of.
constexpr int64_t kMeasured = 200;

/// What each of the processes does that train together; the first of them writes files.
class Run {
 public:
  Run(const Recipe& recipe, const RunOptions& options)
      : recipe_(recipe), options_(options), log_(options.output) {}

  RunResult carry_out() {
    train::set_threads(options_.threads);
    if (writes_) {
      refuse_other_run();
      fs::create_directories(options_.output / "checkpoint");
      lock_.emplace(options_.output);
      write_text(options_.output / "recipe.toml", recipe_.text);
    }
    read_data();
    const auto classes = static_cast<int64_t>(train_.classes.size());
    network_ = initial_network(recipe_, classes);
    teacher_ = initial_teacher(recipe_, classes);
    RunResult result;
    for (size_t i = 0; i < recipe_.stages.size(); ++i) {
      if (!run_stage(recipe_.stages[i], i)) return result;
      result.stages.push_back(last_);
      steps_before_ += last_.steps;
    }
    if (writes_) {
      formats::write_model(frozen_, options_.output / "model.ounce");
      formats::write_model(frozen_, options_.output / "model.onnx");
    }
    result.finished = true;
    return result;
  }

 private:
  static void write_text(const fs::path& path, const std::string& text) {
    formats::AtomicFile file(path);
    file.write(text);
    file.commit();
  }

  /// Before anything of it is touched.
  void refuse_other_run() const {
    const fs::path path = options_.output / "recipe.toml";
    const bool has_begun =
        std::any_of(recipe_.stages.begin(), recipe_.stages.end(),
                    [&](const Stage& stage) { return fs::exists(checkpoint_of(stage)); });
    if (!has_begun || !fs::exists(path)) return;
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    if (text.str() != recipe_.text) {
      throw Error("holds a run with other settings", options_.output.string(),
                  "another folder (-o), or remove this one");
    }
  }

  /// As the first process sees it: the others may have no such folder.
  bool begins(const Stage& stage) const {
    const bool has_checkpoint = writes_ && fs::exists(checkpoint_of(stage));
    return train::world().broadcast(std::string(has_checkpoint ? "yes" : "")).empty();
  }

  fs::path checkpoint_of(const Stage& stage) const {
    return options_.output / "checkpoint" / (stage.name + ".safetensors");
  }

  void read_data() {
    const auto decode = [&](const fs::path& path, int64_t limit) {
      return read_pictures(path, recipe_.data.size, limit, [&](int64_t done, int64_t total) {
        if (options_.report && done % 100 == 0) options_.report("decode", done, total, "");
      });
    };
    train_ = decode(recipe_.data.train, recipe_.data.limit);
    test_ = decode(recipe_.data.test, 0);
    if (train_.classes != test_.classes) {
      throw Error("has other classes than " + recipe_.data.train.string(),
                  recipe_.data.test.string(), "the same class folders in both");
    }
  }

  /// False when the run was stopped.
  bool run_stage(const Stage& stage, size_t number) {
    if (begins(stage)) log_before(stage);
    at::manual_seed(static_cast<uint64_t>(recipe_.seed + number));
    StageTraining training(stage, network_, teacher_ ? &*teacher_ : nullptr);
    train::Module& module = training.student();
    train::BatchSource::Options batches{stage.batch, recipe_.seed + 1000 * number,
                                        recipe_.data.normalization, stage.augmentation};
    const train::BatchSource source(train_, batches);
    train::TrainerOptions settings = stage.training;
    settings.checkpoint = checkpoint_of(stage);
    settings.fingerprint = recipe_.text;
    settings.loaders = options_.loaders;
    train::Trainer trainer(module, settings);
    const bool finished = trainer.run(
        source, training.objective(),
        [&](const train::Progress& progress) { return report(stage, progress); },
        [&](const train::Progress& progress) { log_epoch(stage, training, progress); });
    if (!finished) return false;
    trainer.use_average();
    module.set_training(false);
    finish_stage(stage, module, source.steps_per_epoch() / settings.accumulate * settings.epochs);
    return true;
  }

  bool report(const Stage& stage, const train::Progress& progress) const {
    if (!options_.report) return true;
    std::ostringstream line;
    line.precision(4);
    line << "loss " << progress.loss;
    return options_.report(stage.name, progress.step, progress.steps, line.str());
  }

  /// The line of epoch 0 of a stage that quantizes: its loss is that of the test set.
  void log_before(const Stage& stage) {
    const auto before = before_training(stage, network_, train_, test_, recipe_.data.normalization);
    if (!before || !writes_) return;
    log_.add({.stage = stage.name, .loss = before->loss, .test_accuracy = before->accuracy},
             steps_before_);
  }

  void log_epoch(const Stage& stage, StageTraining& training, const train::Progress& progress) {
    EpochRecord record = {.stage = stage.name,
                          .epoch = progress.epoch + 1,
                          .step = progress.step,
                          .loss = progress.loss,
                          .learning_rate = progress.learning_rate};
    // All processes test: the network's state is theirs together.
    if (record.epoch % stage.test_every == 0 || progress.step == progress.steps) {
      record.test_accuracy = train::accuracy(training.student(), test_, recipe_.data.normalization);
    }
    if (!writes_) return;
    train::World alone;
    const train::Membership membership(alone);  // the others do not measure
    const train::ImageSet some = test_.spread(kMeasured);
    record.measures = training.measures(train::normalize(some.images, recipe_.data.normalization));
    log_.add(record, steps_before_);
  }

  void finish_stage(const Stage& stage, train::Module& module, int64_t steps) {
    last_ = {stage.name, stage.method, steps, 0, {}};
    last_.accuracy = train::accuracy(module, test_, recipe_.data.normalization);
    network_ = train::without_fake_quant(module.graph());
    if (stage.method == "float") teacher_ = network_;
    if (!writes_) return;
    frozen_ = train::freeze(module);
    const train::ImageSet judged =
        recipe_.data.judged > 0 ? test_.spread(recipe_.data.judged) : test_;
    last_.parity = judge(module, frozen_, judged, recipe_.data.normalization, options_.threads);
    const auto task = tasks::make_classification(
        preprocessing_of(recipe_.data.size, recipe_.data.normalization), train_.classes);
    task->store(frozen_);
    formats::write_model(frozen_, options_.output / (stage.name + ".ounce"));
    formats::write_model(network_, options_.output / (stage.name + ".network.ounce"));
  }

  const Recipe& recipe_;
  const RunOptions& options_;
  const bool writes_ = train::world().is_first();
  std::optional<RunLock> lock_;
  RunLog log_;
  int64_t steps_before_ = 0;  // of the stages that have ended
  train::ImageSet train_;
  train::ImageSet test_;
  Graph network_;                 // as the last stage left it, without quantizers
  std::optional<Graph> teacher_;  // of the last stage in f32, or the recipe's
  Graph frozen_;
  StageResult last_;
};

}  // namespace

bool is_first_process() {
  return train::place_from_environment().rank == 0;
}

RunResult run(const Recipe& recipe, const RunOptions& options) {
  const train::Place place = train::place_from_environment();
  std::optional<train::World> met;
  const auto waiting = [&](int64_t come) {
    return !options.report || options.report("wait for processes", come, place.size, "");
  };
  try {
    met.emplace(place, waiting);
  } catch (const Error&) {
    if (!waiting(0)) return {};
    throw;
  }
  train::World& processes = *met;
  const train::Membership membership(processes);
  try {
    RunResult result = Run(recipe, options).carry_out();
    processes.barrier();
    return result;
  } catch (const c10::Error& error) {
    processes.leave(error.what_without_backtrace());
    throw Error(error.what_without_backtrace());
  } catch (const std::exception& error) {
    processes.leave(error.what());
    throw;
  }
}

}  // namespace ounce::recipes
