#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "methods/trained/method.h"
#include "train/image_set.h"
#include "train/trainer.h"

namespace ounce::recipes {

/// Where pictures come from: a folder of class folders, a list, or a `.safetensors` file of decoded
/// pictures.
struct DataSource {
  std::filesystem::path train;
  std::filesystem::path test;
  int64_t size = 32;   // pictures are scaled and cropped to squares of so many pixels
  int64_t limit = 0;   // at most so many pictures of `train`, spread over its order; 0: all
  int64_t judged = 0;  // pictures of `test` on which engine and trainer are compared; 0: all
  train::Normalization normalization;
};

/// A builder's network, or a file's.
struct ModelSource {
  std::filesystem::path file;     // empty: built
  std::filesystem::path teacher;  // in f32; empty: the last stage of method "float" teaches
  // A checkpoint for a built network to begin with (see fine_tune.h); empty: random weights.
  std::filesystem::path weights;
  std::string weights_prefix;  // of the names in it
  std::string architecture = "cifar_resnet";
  int64_t width = 16;
  int64_t blocks = 3;
  bool react = false;
  // Of "resnet" and "swin": blocks of each stage.
  std::vector<int64_t> depths;
  // Of "swin", beside `patch` and `width`:
  int64_t window = 4;
  std::vector<int64_t> stage_heads;
  // Of "deit", beside `width`:
  int64_t patch = 4;
  int64_t depth = 4;
  int64_t heads = 4;
  bool distilled = false;
};

enum class Distillation { kNone, kSoft, kSoftOnly, kHard };

/// One training of the network that the stage before left (the first: of the model).
struct Stage {
  std::string name;
  std::string method = "float";  // see methods/trained/method.h
  std::shared_ptr<methods::TrainedMethod> trained;
  int64_t batch = 128;
  train::Augmentation augmentation;
  train::TrainerOptions training;
  int64_t test_every = 1;  // epochs from one look at the test set to the next
  double label_smoothing = 0;
  /// Learn from the network of the last stage before this one whose method was "float" (or from
  /// `ModelSource::teacher`): its
  /// probabilities beside the labels, or alone; kHard: the class it names beside the labels, for
  /// the head of a distilled DeiT that has a token of its own.
  Distillation distillation = Distillation::kNone;
};

struct Recipe {
  std::string name;
  uint64_t seed = 1;
  DataSource data;
  ModelSource model;
  std::vector<Stage> stages;
  std::string text;  // TOML, with the overrides applied
};

/// Reads and checks a recipe. `overrides` are "key=value" with dotted keys from the root
/// ("stage.2.epochs=5", stages counted from 1); values are TOML, or text where they are not. Paths
/// are relative to the recipe's folder. Throws `Error` naming file, line and key.
Recipe read_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides);

}  // namespace ounce::recipes
