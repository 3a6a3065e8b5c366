#include "recipes/recipe.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "graph/error.h"
#include "recipes/rand_augment.h"
#include "settings/settings.h"

namespace ounce::recipes {
namespace {

constexpr int64_t kMost = int64_t{1} << 40;
constexpr double kHuge = 1e12;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error("cannot be read", path.string(), "the path of a recipe (.toml)");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The table or array element that a dotted key names, made where it is missing.
toml::node& descend(toml::node& node, const std::string& part, const std::string& override_text) {
  if (toml::table* table = node.as_table()) {
    if (!table->contains(part)) table->insert(part, toml::table());
    return *table->get(part);
  }
  if (toml::array* array = node.as_array()) {
    const bool is_number =
        !part.empty() && part.size() < 6 &&
        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    const size_t index = is_number ? std::stoul(part) : 0;
    if (index >= 1 && index <= array->size()) return *array->get(index - 1);
    throw Error("'" + part + "' is no number from 1 to " + std::to_string(array->size()),
                "--set " + override_text, "stage.1.epochs=5");
  }
  throw Error("'" + part + "' is below something that is no table", "--set " + override_text,
              "key=value with the keys of the recipe");
}

void apply_override(toml::table& root, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error("is not key=value", "--set " + text, "--set stage.1.epochs=5");
  }
  std::vector<std::string> parts;
  std::istringstream path(text.substr(0, equals));
  for (std::string part; std::getline(path, part, '.');) parts.push_back(part);
  toml::node* node = &root;
  for (size_t i = 0; i + 1 < parts.size(); ++i) node = &descend(*node, parts[i], text);
  toml::table* table = node->as_table();
  if (table == nullptr) {
    throw Error("names no value of a table", "--set " + text, "--set stage.1.epochs=5");
  }
  const std::string value = text.substr(equals + 1);
  toml::table parsed;
  try {
    parsed = toml::parse("value = " + value);
  } catch (const toml::parse_error&) {
    parsed.insert("value", value);  // a word without quotes
  }
  table->insert_or_assign(parts.back(), *parsed.get("value"));
}

std::vector<float> colors(Settings& settings, const std::string& key, float fallback) {
  const auto values = settings.numbers(key);
  if (!values) return std::vector<float>(3, fallback);
  if (values->size() != 3) throw settings.error(key, "needs three numbers", "[red, green, blue]");
  return {values->begin(), values->end()};
}

std::filesystem::path resolved(const std::filesystem::path& folder, const std::string& text) {
  const std::filesystem::path path(text);
  return path.is_absolute() ? path : (folder / path).lexically_normal();
}

DataSource read_data(Settings settings, const std::filesystem::path& folder) {
  DataSource data;
  const auto train = settings.text("train");
  const auto test = settings.text("test");
  if (!train) throw settings.error("train", "is missing", "a folder of class folders");
  if (!test) throw settings.error("test", "is missing", "a folder of class folders");
  data.train = resolved(folder, *train);
  data.test = resolved(folder, *test);
  data.size = settings.integer("size", 1, 4096).value_or(data.size);
  data.limit = settings.integer("limit", 1, kMost).value_or(0);
  data.judged = settings.integer("judged", 1, kMost).value_or(0);
  data.normalization.mean = colors(settings, "mean", 0.0F);
  data.normalization.deviation = colors(settings, "std", 1.0F);
  for (const float deviation : data.normalization.deviation) {
    if (!(deviation > 0)) throw settings.error("std", "must be above 0");
  }
  settings.finish();
  return data;
}

void read_deit(Settings& settings, ModelSource& model) {
  model.architecture = "deit";
  model.patch = settings.integer("patch", 1, 1024).value_or(model.patch);
  model.width = settings.integer("width", 1, 1 << 16).value_or(64);
  model.depth = settings.integer("depth", 1, 1000).value_or(model.depth);
  model.heads = settings.integer("heads", 1, 1000).value_or(model.heads);
  model.distilled = settings.flag("distilled").value_or(model.distilled);
  if (model.width % model.heads != 0) {
    throw settings.error("heads", "must divide width = " + std::to_string(model.width));
  }
}

/// A list of numbers of blocks or heads, one a stage.
std::vector<int64_t> read_stages(Settings& settings, const std::string& key,
                                 std::vector<int64_t> otherwise) {
  const std::vector<int64_t> values = settings.integers(key).value_or(std::move(otherwise));
  const auto is_sound = [](int64_t value) { return value >= 1 && value <= 1000; };
  if (values.empty() || values.size() > 8 || !std::all_of(values.begin(), values.end(), is_sound)) {
    throw settings.error(key, "needs 1 to 8 numbers above 0, one a stage");
  }
  return values;
}

void read_resnet(Settings& settings, ModelSource& model) {
  model.architecture = "resnet";
  model.width = settings.integer("width", 1, 4096).value_or(64);
  model.depths = read_stages(settings, "depths", {2, 2, 2, 2});
  model.react = settings.flag("react").value_or(false);
}

void read_swin(Settings& settings, ModelSource& model) {
  model.architecture = "swin";
  model.patch = settings.integer("patch", 1, 1024).value_or(2);
  model.window = settings.integer("window", 1, 1024).value_or(model.window);
  model.width = settings.integer("width", 1, 1 << 16).value_or(64);
  model.depths = read_stages(settings, "depths", {2, 2});
  model.stage_heads = read_stages(settings, "heads", {2, 4});
  if (model.depths.size() != model.stage_heads.size()) {
    throw settings.error("heads", "needs as many numbers as depths");
  }
}

ModelSource read_model_source(Settings settings, const std::filesystem::path& folder) {
  ModelSource model;
  if (const auto teacher = settings.text("teacher")) model.teacher = resolved(folder, *teacher);
  if (const auto file = settings.text("file")) {
    model.file = resolved(folder, *file);
    settings.finish();
    return model;
  }
  if (const auto weights = settings.text("weights")) model.weights = resolved(folder, *weights);
  model.weights_prefix = settings.text("weights_prefix").value_or("");
  const std::vector<std::string> words = {"cifar_resnet", "deit", "swin", "resnet"};
  if (const size_t word = settings.choice("architecture", words).value_or(0); word > 0) {
    if (word == 1) read_deit(settings, model);
    if (word == 2) read_swin(settings, model);
    if (word == 3) read_resnet(settings, model);
    settings.finish();
    return model;
  }
  model.width = settings.integer("width", 1, 4096).value_or(model.width);
  model.blocks = settings.integer("blocks", 1, 100).value_or(model.blocks);
  model.react = settings.flag("react").value_or(false);
  settings.finish();
  return model;
}

train::Augmentation read_augmentation(Settings& settings) {
  train::Augmentation augmentation;
  augmentation.crop_padding = settings.integer("crop_padding", 0, 1024).value_or(0);
  augmentation.flip = settings.flag("flip").value_or(false);
  if (const auto numbers = settings.numbers("rand_augment")) {
    const bool fits = numbers->size() == 2 && numbers->at(0) >= 1 && numbers->at(0) <= 100 &&
                      numbers->at(0) == std::floor(numbers->at(0)) && numbers->at(1) >= 0 &&
                      numbers->at(1) <= kLargestMagnitude;
    if (!fits) {
      throw settings.error("rand_augment",
                           "needs a number of operations and a magnitude from 0 to 30", "[2, 9]");
    }
    augmentation.change = rand_augment({static_cast<int>(numbers->at(0)), numbers->at(1)});
  }
  augmentation.erasing = settings.number("random_erasing", 0, 1).value_or(0);
  augmentation.mixup = settings.number("mixup", 0, 100).value_or(0);
  augmentation.cutmix = settings.number("cutmix", 0, 100).value_or(0);
  return augmentation;
}

train::OptimizerOptions read_optimizer(Settings& settings) {
  train::OptimizerOptions options;
  if (const auto word = settings.choice("optimizer", {"sgd", "adam", "adamw", "lamb"})) {
    options.kind = static_cast<train::OptimizerKind>(*word);
  }
  options.learning_rate = settings.number("learning_rate", 0, 1e3).value_or(options.learning_rate);
  options.weight_decay = settings.number("weight_decay", 0, 1e3).value_or(0);
  options.momentum = settings.number("momentum", 0, 1).value_or(options.momentum);
  options.nesterov = settings.flag("nesterov").value_or(false);
  options.quantizer_rate = settings.number("quantizer_rate", 0, 1e3).value_or(1);
  return options;
}

train::ScheduleOptions read_schedule(Settings& settings) {
  train::ScheduleOptions options;
  if (const auto word = settings.choice("schedule", {"constant", "cosine", "linear", "step"})) {
    options.kind = static_cast<train::ScheduleKind>(*word);
  }
  options.warmup = settings.number("warmup", 0, 1).value_or(0);
  options.floor = settings.number("floor", 0, 1).value_or(0);
  options.milestones = settings.numbers("milestones").value_or(std::vector<double>());
  options.decay = settings.number("decay", 0, 1).value_or(options.decay);
  return options;
}

/// The row of the method that a stage names.
const methods::TrainedMethodRow& read_method(Settings& settings) {
  const auto rows = methods::trained_methods();
  std::vector<std::string> names;
  for (const methods::TrainedMethodRow& row : rows) names.emplace_back(row.name);
  return rows[settings.choice("method", names).value_or(0)];
}

Stage read_stage(Settings& settings, size_t number, bool has_teacher) {
  Stage stage;
  const methods::TrainedMethodRow& method = read_method(settings);
  stage.method = method.name;
  stage.trained = method.read(settings);
  stage.name = settings.text("name").value_or(std::to_string(number) + '-' + stage.method);
  if (stage.name.empty() || stage.name.find_first_of("/\\") != std::string::npos ||
      stage.name.starts_with('.')) {
    throw settings.error("name", "is no name for files");
  }
  const auto epochs = settings.integer("epochs", 1, 1'000'000);
  if (!epochs) throw settings.error("epochs", "is missing", "epochs = 30");
  stage.training.epochs = *epochs;
  stage.batch = settings.integer("batch", 1, 1 << 20).value_or(stage.batch);
  stage.augmentation = read_augmentation(settings);
  stage.training.optimizer = read_optimizer(settings);
  stage.training.schedule = read_schedule(settings);
  stage.training.clip_norm = settings.number("clip_norm", 0, kHuge).value_or(0);
  stage.training.ema = settings.number("ema", 0, 1).value_or(0);
  stage.training.accumulate = settings.integer("accumulate", 1, 1 << 20).value_or(1);
  stage.training.checkpoint_steps = settings.integer("checkpoint_steps", 1, kMost).value_or(0);
  stage.test_every = settings.integer("test_every", 1, 1'000'000).value_or(1);
  stage.label_smoothing = settings.number("label_smoothing", 0, 1).value_or(0);
  if (const auto word = settings.choice("distillation", {"none", "soft", "soft-only", "hard"})) {
    stage.distillation = static_cast<Distillation>(*word);
  }
  if (stage.distillation != Distillation::kNone && !has_teacher) {
    throw settings.error("distillation",
                         "needs a stage of method float before this one, or model.teacher");
  }
  settings.finish();
  return stage;
}

}  // namespace

Recipe read_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  toml::table table = parse_toml(read_text(path), path.string());
  for (const std::string& text : overrides) apply_override(table, text);
  Settings settings(table, path.string(), "");
  Recipe recipe;
  recipe.name = settings.text("name").value_or(path.stem().string());
  recipe.seed = static_cast<uint64_t>(settings.integer("seed", 0, kMost).value_or(1));
  const std::filesystem::path folder = path.parent_path();
  const auto data = settings.section("data");
  if (!data) throw settings.error("data", "is missing", "[data] with train and test");
  recipe.data = read_data(*data, folder);
  const auto model = settings.section("model");
  if (!model) throw settings.error("model", "is missing", "[model] with architecture or file");
  recipe.model = read_model_source(*model, folder);
  bool has_teacher = !recipe.model.teacher.empty();
  for (Settings& stage : settings.sections("stage")) {
    recipe.stages.push_back(read_stage(stage, recipe.stages.size() + 1, has_teacher));
    has_teacher = has_teacher || recipe.stages.back().method == "float";
  }
  if (recipe.stages.empty()) {
    throw settings.error("stage", "is missing", "[[stage]] with method and epochs");
  }
  settings.finish();
  std::ostringstream text;
  text << table << '\n';
  recipe.text = text.str();
  return recipe;
}

}  // namespace ounce::recipes
