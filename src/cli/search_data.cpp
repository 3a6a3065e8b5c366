#include "cli/search_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "cli/provenance.h"
#include "engine/session.h"
#include "formats/npy.h"
#include "graph/error.h"
#include "quantize/analysis/divergence.h"

namespace ounce::cli {
namespace {

/// Prepared inputs, and float outputs, are kept in memory up to so many bytes each: pictures are
/// then decoded once and not for every trial.
constexpr size_t kKeptBytes = size_t{512} << 20;

constexpr int64_t kMostCalibration = 128;

size_t bytes_of(const std::vector<Tensor>& tensors) {
  size_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.bytes();
  return bytes;
}

/// Positions of `count` of `size` items, spread evenly; all where `count` is 0 or too large.
std::set<size_t> spread(size_t size, int64_t count) {
  std::set<size_t> positions;
  const size_t wanted = count <= 0 ? size : std::min(size, static_cast<size_t>(count));
  for (size_t i = 0; i < wanted; ++i) positions.insert(i * size / wanted);
  return positions;
}

/// The two shares of one list of things.
template <class Item>
struct Shares {
  std::vector<Item> calibration;
  std::vector<Item> judged;
};

/// Splits a list: evenly spread items calibrate, of the others evenly spread ones judge.
template <class Item>
Shares<Item> split(const std::vector<Item>& items, const SearchDataOptions& options) {
  if (items.size() < 2) {
    throw Error("holds one item, and what calibrates may not judge", options.data.data,
                "more pictures, or others to judge with --eval-data");
  }
  const auto size = static_cast<int64_t>(items.size());
  const int64_t wanted = options.calibration > 0
                             ? options.calibration
                             : std::clamp<int64_t>(size / 3, 1, kMostCalibration);
  if (wanted >= size) {
    throw Error(
        fmt::format("has {} items, and --calibration {} leaves none to judge", size, wanted),
        options.data.data, "fewer, or others to judge with --eval-data");
  }
  const std::set<size_t> chosen = spread(items.size(), wanted);
  Shares<Item> shares;
  for (size_t i = 0; i < items.size(); ++i) {
    (chosen.count(i) != 0 ? shares.calibration : shares.judged).push_back(items[i]);
  }
  return shares;
}

template <class Item>
void thin(std::vector<Item>& items, int64_t count) {
  std::vector<Item> kept;
  for (const size_t i : spread(items.size(), count)) kept.push_back(std::move(items[i]));
  items = std::move(kept);
}

std::string file_name(const std::string& path) {
  const std::filesystem::path plain(path);
  return (plain.has_filename() ? plain : plain.parent_path()).filename().string();
}

std::set<std::filesystem::path> paths_of(const std::vector<tasks::Sample>& samples) {
  std::set<std::filesystem::path> paths;
  for (const tasks::Sample& sample : samples) {
    paths.insert(std::filesystem::weakly_canonical(sample.path));
  }
  return paths;
}

}  // namespace

/// The items that judge, decoded once where they fit into memory.
class SearchData::Judged {
 public:
  struct Item {
    std::vector<Tensor> inputs;
    const tasks::Sample* sample = nullptr;  // nullptr: an array
    tasks::Geometry geometry;
  };
  using Use = std::function<void(size_t position, const Item& item)>;

  Judged(tasks::Dataset pictures, const tasks::Task& task)
      : pictures_(std::move(pictures)), task_(&task) {}
  explicit Judged(std::vector<std::filesystem::path> arrays) : arrays_(std::move(arrays)) {}

  size_t size() const { return arrays_.empty() ? pictures_.samples.size() : arrays_.size(); }
  const tasks::Dataset& pictures() const { return pictures_; }
  const std::vector<tasks::SkippedSample>& skipped() const { return skipped_; }

  /// Calls `use` for every readable item, with its position among them.
  void for_each(const Use& use) {
    if (complete_) {
      for (size_t i = 0; i < kept_.size(); ++i) use(i, kept_[i]);
      return;
    }
    size_t bytes = 0;
    size_t position = 0;
    bool fits = true;
    kept_.clear();
    read([&](Item item) {
      use(position++, item);
      bytes += bytes_of(item.inputs);
      fits = fits && bytes <= kKeptBytes;
      if (fits) kept_.push_back(std::move(item));
    });
    complete_ = fits;
    if (!fits) kept_.clear();
  }

 private:
  template <class Take>
  void read(Take take) {
    for (const auto& file : arrays_) take(Item{{formats::read_npy(file)}, nullptr, {}});
    if (task_ == nullptr) return;
    tasks::DatasetStream stream(pictures_);
    while (const auto item = stream.next()) {
      tasks::PreparedInput input = task_->prepare(*item->sample, item->image);
      take(Item{{std::move(input.pixels)}, item->sample, input.geometry});
    }
    skipped_ = stream.skipped();
  }

  tasks::Dataset pictures_;
  const tasks::Task* task_ = nullptr;
  std::vector<std::filesystem::path> arrays_;
  std::vector<tasks::SkippedSample> skipped_;
  std::vector<Item> kept_;
  bool complete_ = false;  // `kept_` holds all items
};

SearchData::SearchData(const SearchDataOptions& options, const Graph& graph,
                       const std::string& model, const TaskArguments& task) {
  if (auto arrays = arrays_in(options.data.data); !arrays.empty()) {
    split_arrays(std::move(arrays), options, graph);
  } else {
    split_pictures(options, graph, model, task);
  }
  const std::string whose =
      options.eval_data.empty() ? "others" : "of " + file_name(options.eval_data);
  text_ = fmt::format("{} of {} calibrate, {} {} judge by {}", calibration_items(),
                      file_name(options.data.data), judged_items(), whose, metric_);
  if (!labelled_) text_ += " with the float model (" + why_unlabelled_ + ")";
}

SearchData::~SearchData() = default;

void SearchData::split_arrays(std::vector<std::filesystem::path> files,
                              const SearchDataOptions& options, const Graph& graph) {
  if (graph.inputs.size() != 1) {
    throw Error(
        "arrays feed a model with one input, this one has " + std::to_string(graph.inputs.size()),
        options.data.data, "pictures");
  }
  if (!options.eval_data.empty()) {
    throw Error("arrays are split into what calibrates and what judges", options.eval_data,
                "no --eval-data");
  }
  thin(files, options.data.limit);
  hash_ = file_hash(files);
  auto shares = split(files, options);
  thin(shares.judged, options.judge);
  calibration_ = std::make_unique<ArraySource>(std::move(shares.calibration));
  judged_ = std::make_unique<Judged>(std::move(shares.judged));
}

void SearchData::split_pictures(const SearchDataOptions& options, const Graph& graph,
                                const std::string& model, const TaskArguments& task) {
  task_ = make_task(graph, model, task);
  tasks::Dataset judged = open_data(options.data);
  auto calibration = std::make_unique<tasks::Dataset>(judged);
  if (options.eval_data.empty()) {
    auto shares = split(judged.samples, options);
    calibration->samples = std::move(shares.calibration);
    judged.samples = std::move(shares.judged);
  } else {
    thin(calibration->samples, options.calibration > 0 ? options.calibration : kMostCalibration);
    judged = open_data({options.eval_data, options.eval_images, 0});
    const auto seen = paths_of(calibration->samples);
    std::erase_if(judged.samples, [&](const tasks::Sample& sample) {
      return seen.count(std::filesystem::weakly_canonical(sample.path)) != 0;
    });
    if (judged.samples.empty()) {
      throw Error("holds only pictures that calibrate", options.eval_data, "other pictures");
    }
  }
  thin(judged.samples, options.judge);
  const bool can_judge = task_->can_judge(judged);
  if (!can_judge && !options.eval_data.empty()) {
    throw Error("has no labels for " + std::string(task_->name()), options.eval_data,
                "labelled pictures, or no --eval-data");
  }
  labelled_ = can_judge && task_->unit_of(task_->main_metric()) == "%";
  if (labelled_) metric_ = task_->main_metric();
  if (can_judge && !labelled_) why_unlabelled_ = "a search weighs shares, not decibels";
  hash_ = tasks::data_hash(*calibration) + " " + tasks::data_hash(judged);
  calibration_pictures_ = std::move(calibration);
  calibration_ = std::make_unique<PictureSource>(*calibration_pictures_, *task_);
  judged_ = std::make_unique<Judged>(std::move(judged), *task_);
}

int64_t SearchData::judged_items() const {
  return static_cast<int64_t>(judged_->size());
}

SearchData::Score SearchData::judge(const Graph& graph, int threads,
                                    const std::function<void(int64_t, int64_t)>& progress) {
  engine::SessionOptions session_options;
  session_options.threads = threads;
  engine::Session session(graph, session_options);
  const bool first = exact_.empty();
  size_t kept_bytes = 0;
  double loss = 0.0;
  double agreement = 0.0;
  if (labelled_) task_->begin(judged_->pictures());
  judged_->for_each([&](size_t i, const Judged::Item& item) {
    std::vector<Tensor> outputs = session.run(item.inputs);
    if (labelled_) task_->add(*item.sample, task_->interpret(outputs, item.geometry));
    if (first) {
      kept_bytes += bytes_of(outputs);
      if (i == 0 || kept_bytes <= kKeptBytes) exact_.push_back(std::move(outputs));
    } else if (i < exact_.size()) {
      loss += quantize::divergence(exact_[i], outputs);
      agreement += quantize::agreement(exact_[i], outputs);
    }
    progress(static_cast<int64_t>(i) + 1, judged_items());
  });
  const auto count = static_cast<double>(exact_.size());
  Score score;
  score.loss = loss / count;
  if (labelled_) {
    score.metrics = task_->metrics();
  } else {
    score.metrics["agreement"] = first ? 1.0 : agreement / count;
  }
  score.metric = score.metrics.at(metric_);
  return score;
}

std::vector<std::vector<Tensor>> SearchData::some_judged(int64_t count) const {
  const std::set<size_t> wanted = spread(judged_->size(), count);
  std::vector<std::vector<Tensor>> inputs;
  judged_->for_each([&](size_t i, const Judged::Item& item) {
    if (wanted.count(i) != 0) inputs.push_back(item.inputs);
  });
  return inputs;
}

std::vector<tasks::SkippedSample> SearchData::skipped() const {
  std::vector<tasks::SkippedSample> all = judged_->skipped();
  if (calibration_pictures_ != nullptr) {
    const auto& pictures = static_cast<const PictureSource&>(*calibration_);
    all.insert(all.end(), pictures.skipped().begin(), pictures.skipped().end());
  }
  return all;
}

}  // namespace ounce::cli
