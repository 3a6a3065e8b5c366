#include "recipes/run.h"

#include <ATen/Parallel.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "formats/formats.h"
#include "formats/ounce_file/atomic_file.h"
#include "graph/error.h"
#include "graph/passes/passes.h"
#include "models/models.h"
#include "recipes/pictures.h"
#include "train/freeze.h"
#include "train/insert.h"
#include "train/losses.h"
#include "train/tensor.h"

namespace ounce::recipes {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kEvaluationBatch = 250;

/// The size of the second dimension of the first output, if it is known.
std::optional<int64_t> class_count(const Graph& graph) {
  const auto& shape = graph.value(graph.outputs.at(0)).shape;
  if (!shape || shape->size() != 2 || !(*shape)[1].known()) return std::nullopt;
  return (*shape)[1].value;
}

/// Names of values that a method's loss looks at.
struct Seen {
  std::vector<std::string> of_student;
  std::vector<std::string> of_teacher;
};

// The heads of a distilled DeiT (models/models.h): one for the labels, one for the teacher.
const std::string kClassHead = "head.logits";
const std::string kTaughtHead = "head_dist.logits";

void see_heads(const Graph& student, Seen& seen) {
  if (student.find_value(kTaughtHead) == kNoValue) return;
  seen.of_student.push_back(kClassHead);
  seen.of_student.push_back(kTaughtHead);
}

class Run {
 public:
  Run(const Recipe& recipe, const RunOptions& options) : recipe_(recipe), options_(options) {}

  RunResult carry_out() {
    at::set_num_threads(options_.threads);
    fs::create_directories(options_.output / "checkpoint");
    write_text(options_.output / "recipe.toml", recipe_.text);
    read_data();
    network_ = initial_network(recipe_, static_cast<int64_t>(train_.classes.size()));
    RunResult result;
    for (size_t i = 0; i < recipe_.stages.size(); ++i) {
      if (!run_stage(recipe_.stages[i], i)) return result;
      result.stages.push_back(last_);
    }
    formats::write_model(frozen_, options_.output / "model.ounce");
    formats::write_model(frozen_, options_.output / "model.onnx");
    result.finished = true;
    return result;
  }

 private:
  static void write_text(const fs::path& path, const std::string& text) {
    formats::AtomicFile file(path);
    file.write(text);
    file.commit();
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
    at::manual_seed(static_cast<uint64_t>(recipe_.seed + number));
    const train::Student student = stage.trained->student(network_);
    train::Module module(student.graph, student.quantizers);
    std::optional<train::Module> teacher;
    if (needs_teacher(stage)) {
      teacher.emplace(teacher_);
      teacher->freeze_parameters();
    }
    train::BatchSource::Options batches{stage.batch, recipe_.seed + 1000 * number,
                                        recipe_.data.normalization, stage.augmentation};
    const train::BatchSource source(train_, batches);
    train::TrainerOptions settings = stage.training;
    settings.checkpoint = options_.output / "checkpoint" / (stage.name + ".safetensors");
    settings.fingerprint = recipe_.text;
    train::Trainer trainer(module, settings);
    Seen seen{stage.trained->student_taps(student.graph),
              teacher ? stage.trained->teacher_taps(teacher_) : std::vector<std::string>()};
    if (stage.distillation == Distillation::kHard) see_heads(student.graph, seen);
    train::Objective objective;
    objective.loss = [&](const train::Batch& batch, const train::Progress&) {
      return loss_of(stage, seen, module, teacher ? &*teacher : nullptr, batch);
    };
    objective.after_step = [&](const train::Progress& progress) {
      stage.trained->after_step(module, progress);
    };
    const bool finished = trainer.run(
        source, objective, [&](const train::Progress& progress) { return report(stage, progress); },
        [&](const train::Progress& progress) { log_epoch(stage, module, progress); });
    if (!finished) return false;
    trainer.use_average();
    module.set_training(false);
    finish_stage(stage, module, source.steps_per_epoch() / settings.accumulate * settings.epochs);
    return true;
  }

  bool needs_teacher(const Stage& stage) const {
    if (stage.distillation != Distillation::kNone) return true;
    return has_teacher_ && !stage.trained->teacher_taps(teacher_).empty();
  }

  /// Labels, teacher, or half of each.
  static at::Tensor task_loss(const Stage& stage, const train::Module::Result& own,
                              const train::Module::Result* taught, const train::Batch& batch) {
    const auto labels = [&](const at::Tensor& logits) {
      return train::cross_entropy(logits, batch, stage.label_smoothing);
    };
    const at::Tensor& logits = own.outputs.at(0);
    if (stage.distillation == Distillation::kNone) return labels(logits);
    const at::Tensor& teacher = taught->outputs.at(0);
    if (stage.distillation == Distillation::kHard) {
      const bool two_heads = own.taps.contains(kTaughtHead);
      return 0.5 *
             (labels(two_heads ? own.taps.at(kClassHead) : logits) +
              train::hard_distillation(two_heads ? own.taps.at(kTaughtHead) : logits, teacher));
    }
    const at::Tensor soft = train::soft_cross_entropy(logits, teacher);
    return stage.distillation == Distillation::kSoftOnly ? soft : 0.5 * (soft + labels(logits));
  }

  /// The task's loss and what the method adds.
  static at::Tensor loss_of(const Stage& stage, const Seen& seen, train::Module& module,
                            train::Module* teacher, const train::Batch& batch) {
    const std::span<const at::Tensor> inputs(&batch.inputs, 1);
    const train::Module::Result own = module.forward(inputs, seen.of_student);
    std::optional<train::Module::Result> taught;
    if (teacher != nullptr) {
      const at::NoGradGuard no_grad;
      taught = teacher->forward(inputs, seen.of_teacher);
    }
    const at::Tensor loss = task_loss(stage, own, taught ? &*taught : nullptr, batch);
    const at::Tensor extra = stage.trained->loss(module, own, taught ? &*taught : nullptr);
    return extra.defined() ? loss + extra : loss;
  }

  bool report(const Stage& stage, const train::Progress& progress) const {
    if (!options_.report) return true;
    std::ostringstream line;
    line.precision(4);
    line << "loss " << progress.loss;
    return options_.report(stage.name, progress.step, progress.steps, line.str());
  }

  void log_epoch(const Stage& stage, train::Module& module, const train::Progress& progress) {
    const double accuracy = train::accuracy(module, test_, recipe_.data.normalization);
    const nlohmann::ordered_json line = {
        {"stage", stage.name},       {"epoch", progress.epoch + 1},
        {"step", progress.step},     {"loss", progress.loss},
        {"test_accuracy", accuracy}, {"learning_rate", progress.learning_rate}};
    std::ofstream log(options_.output / "log.jsonl", std::ios::app);
    log << line.dump() << '\n';
    log.flush();
    if (!log) throw Error("cannot be written", (options_.output / "log.jsonl").string());
  }

  void finish_stage(const Stage& stage, train::Module& module, int64_t steps) {
    last_ = {stage.name, stage.method, steps, 0, 0, {}};
    last_.accuracy = train::accuracy(module, test_, recipe_.data.normalization);
    network_ = train::without_fake_quant(module.graph());
    if (stage.method == "float") {
      teacher_ = network_;
      has_teacher_ = true;
    }
    frozen_ = train::freeze(module);
    judge_frozen();
    formats::write_model(frozen_, options_.output / (stage.name + ".ounce"));
  }

  /// The frozen network in both executors, picture by picture.
  void judge_frozen() {
    engine::SessionOptions session_options;
    session_options.threads = options_.threads;
    engine::Session session(frozen_, session_options);
    train::Module exact(frozen_);
    exact.to_double();
    exact.set_training(false);
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> ours;
    std::vector<at::Tensor> theirs;
    for (int64_t first = 0; first < test_.size(); first += kEvaluationBatch) {
      const train::ImageSet part =
          test_.slice(first, std::min(kEvaluationBatch, test_.size() - first));
      const at::Tensor pixels = train::normalize(part.images, recipe_.data.normalization);
      const Tensor inputs[] = {train::from_torch(pixels)};
      ours.push_back(train::to_torch(session.run(inputs).at(0)));
      theirs.push_back(exact(pixels.to(at::kDouble)));
    }
    const at::Tensor engine_logits = at::cat(ours).to(at::kDouble);
    const at::Tensor trainer_logits = at::cat(theirs);
    const at::Tensor classes = engine_logits.argmax(1);
    last_.engine_accuracy = classes.eq(test_.labels).to(at::kDouble).mean().item<double>();
    last_.parity.pictures = test_.size();
    last_.parity.other_class = classes.ne(trainer_logits.argmax(1)).sum().item<int64_t>();
    const auto range = (trainer_logits.max() - trainer_logits.min()).item<double>();
    last_.parity.largest_difference =
        (engine_logits - trainer_logits).abs().max().item<double>() / range;
  }

  const Recipe& recipe_;
  const RunOptions& options_;
  train::ImageSet train_;
  train::ImageSet test_;
  Graph network_;  // as the last stage left it, without quantizers
  Graph teacher_;  // of the last stage in f32
  bool has_teacher_ = false;
  Graph frozen_;
  StageResult last_;
};

}  // namespace

Graph initial_network(const Recipe& recipe, int64_t classes) {
  const ModelSource& source = recipe.model;
  if (!source.file.empty()) {
    Graph graph = formats::read_model(source.file);
    // Exporters compute shapes and scales in the graph; methods look for numbers.
    fold_constants(graph, engine::reference::evaluator());
    graph.remove_dead();
    const auto known = class_count(graph);
    if (known && *known != classes) {
      throw Error("tells " + std::to_string(*known) + " classes apart, the pictures have " +
                      std::to_string(classes),
                  source.file.string(), "a network for these classes");
    }
    return graph;
  }
  if (source.architecture == "deit") {
    if (recipe.data.size % source.patch != 0) {
      throw Error("pictures of " + std::to_string(recipe.data.size) +
                      " pixels are no whole number" + " of patches of " +
                      std::to_string(source.patch),
                  "model.patch", "a divisor of data.size");
    }
    return models::vit(recipe.name,
                       {.image = recipe.data.size,
                        .classes = classes,
                        .patch = source.patch,
                        .width = source.width,
                        .depth = source.depth,
                        .heads = source.heads,
                        .distilled = source.distilled,
                        .zero_biases = true},
                       recipe.seed);
  }
  return models::cifar_resnet(recipe.name,
                              {.image = recipe.data.size,
                               .classes = classes,
                               .width = source.width,
                               .blocks = source.blocks,
                               .react = source.react},
                              recipe.seed);
}

RunResult run(const Recipe& recipe, const RunOptions& options) {
  return Run(recipe, options).carry_out();
}

}  // namespace ounce::recipes
