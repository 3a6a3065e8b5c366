#include "methods/trained/synthesis/synthesis.h"

#include <ATen/ATen.h>
#include <torch/optim/adam.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "graph/error.h"
#include "methods/trained/attention.h"
#include "methods/trained/synthesis/attention_priors.h"
#include "methods/trained/synthesis/picture_losses.h"
#include "methods/trained/synthesis/semantic_targets.h"
#include "train/losses.h"
#include "train/module.h"
#include "train/tensor.h"
#include "train/threads.h"

namespace ounce::methods {
namespace {

/// Pictures that go through the network at once: what training keeps of them is most of the memory.
constexpr int64_t kPicturesAtOnce = 8;

Shape picture_shape(const Graph& graph) {
  const auto& shape = graph.inputs.size() == 1 ? graph.value(graph.inputs[0]).shape : std::nullopt;
  const bool fits = shape && shape->size() == 4 && (*shape)[1] == Dim(3) && (*shape)[2].known() &&
                    (*shape)[3].known();
  if (!fits) {
    throw Error(
        "pictures cannot be made for a network whose input is not [pictures, 3, height, "
        "width] with known sides",
        {}, "--data with pictures, or --dynamic token");
  }
  return {3, (*shape)[2].value, (*shape)[3].value};
}

bool takes_many(const Graph& graph) {
  return !(*graph.value(graph.inputs[0]).shape)[0].known();
}

/// The values that the entropy of patch similarities looks at: what each attention mixes,
/// [.., tokens, features].
std::vector<std::string> mixed_values(const Graph& graph) {
  std::vector<std::string> names;
  for (const Attention& attention : attentions(graph)) {
    names.push_back(graph.value(graph.nodes[static_cast<size_t>(attention.mix)].output(0)).name);
  }
  return names;
}

/// [pictures, heads.., tokens, features] -> [pictures, patches, all features].
at::Tensor patches_of(const at::Tensor& mixed, const PatchAttention& attention, int64_t pictures) {
  const at::Tensor heads = mixed.reshape({pictures, -1, attention.tokens, mixed.size(-1)});
  return heads.narrow(2, attention.others(), attention.patches()).transpose(1, 2).flatten(2);
}

class Synthesizer {
 public:
  Synthesizer(const Graph& graph, const SynthesisOptions& options,
              const quantize::Progress& progress)
      : graph_(graph),
        options_(options),
        goals_(options.goals ? *options.goals : goals_for(graph)),
        progress_(progress),
        shape_(picture_shape(graph)),
        at_once_(takes_many(graph) ? kPicturesAtOnce : 1),
        random_(options.seed),
        module_(graph) {
    module_.set_training(false);
    module_.freeze_parameters();
  }

  std::vector<Tensor> run() {
    at::manual_seed(options_.seed);
    pixels_ = at::randn({options_.pictures, shape_[0], shape_[1], shape_[2]});
    if (!goals_.noise) {
      look_at_network();
      draw_meanings();
      optimize();
    }
    keep_in_range();
    std::vector<Tensor> pictures;
    for (int64_t i = 0; i < options_.pictures; ++i) {
      pictures.push_back(train::from_torch(pixels_.detach().narrow(0, i, 1).contiguous()));
    }
    return pictures;
  }

 private:
  /// One run tells the shapes of maps and the number of classes.
  void look_at_network() {
    const std::vector<std::string> maps = attention_maps(graph_);
    const at::NoGradGuard no_gradient;
    const at::Tensor few = pixels_.narrow(0, 0, 1);
    const train::Module::Result seen = module_.forward({&few, 1}, maps);
    attentions_ = patch_attentions(graph_, seen.taps);
    if (seen.outputs[0].dim() == 2 && seen.outputs[0].size(0) == 1) {
      classes_ = seen.outputs[0].size(1);
    }
    if ((goals_.attention_priors || goals_.different_patches) && attentions_.empty()) {
      throw Error("no attention between patches was recognised: of " + std::to_string(maps.size()) +
                      " products of a softmax over the last axis, none is between as many queries "
                      "as keys that are a square number of patches",
                  {}, "--synthesis one-hot, or --data with pictures");
    }
    if (goals_.attention_priors) {
      priors_.emplace(attentions_, options_.pictures, options_.seed);
      add_taps(priors_->taps());
    }
    if (goals_.different_patches) {
      mixed_ = mixed_values(graph_);
      add_taps(mixed_);
    }
    if (goals_.norm_statistics) {
      statistics_ = norm_statistics(graph_);
      if (statistics_.empty()) {
        throw Error("there are no BatchNormalization statistics to match", {},
                    "a model exported before they were folded into its convolutions, or --data "
                    "with pictures");
      }
      for (const NormStatistics& norm : statistics_) add_taps({norm.input});
    }
    if (classes_ == 0) progress_.tell("the network tells no classes: none are asked of pictures");
  }

  void add_taps(const std::vector<std::string>& names) {
    taps_.insert(taps_.end(), names.begin(), names.end());
  }

  void draw_meanings() {
    if (classes_ == 0) return;
    std::uniform_int_distribution<int64_t> label(0, classes_ - 1);
    for (int64_t i = 0; i < options_.pictures; ++i) {
      PictureMeaning meaning;
      meaning.label = label(random_);
      if (goals_.regions) {
        meaning.regions = random_regions(shape_[1], shape_[2], classes_, random_);
      }
      std::vector<int64_t> labels = {meaning.label};
      for (const PictureRegion& region : meaning.regions) labels.push_back(region.label);
      targets_.push_back(target(labels));
      std::vector<at::Tensor> of_regions;
      for (const PictureRegion& region : meaning.regions) {
        of_regions.push_back(target({region.label}));
      }
      region_targets_.push_back(std::move(of_regions));
      meanings_.push_back(std::move(meaning));
    }
  }

  at::Tensor target(const std::vector<int64_t>& labels) {
    return goals_.soft_labels ? soft_target(classes_, labels, random_)
                              : one_hot_target(classes_, labels[0]);
  }

  void optimize() {
    pixels_.set_requires_grad(true);
    const double variation = wanted_variation(pixels_, random_);
    torch::optim::Adam optimizer({pixels_}, torch::optim::AdamOptions(1.0).betas({0.5, 0.9}));
    for (int64_t step = 0; step < options_.steps; ++step) {
      progress_.step("making pictures", step, options_.steps);
      optimizer.zero_grad();
      for (int64_t first = 0; first < options_.pictures; first += at_once_) {
        const int64_t count = std::min(at_once_, options_.pictures - first);
        const double share = static_cast<double>(count) / static_cast<double>(options_.pictures);
        add_gradient(share * loss_of(first, count));
        if (goals_.regions && classes_ > 0) {
          add_gradient(share * region_loss(first, count));
        }
      }
      add_gradient(options_.smoothness * at::abs(total_variation(pixels_) - variation));
      static_cast<torch::optim::AdamOptions&>(optimizer.param_groups()[0].options())
          .lr(rate_at(step));
      optimizer.step();
      keep_in_range();
    }
  }

  static void add_gradient(const at::Tensor& loss) {
    if (loss.requires_grad()) loss.backward();
  }

  double rate_at(int64_t step) const {
    const double steps = static_cast<double>(options_.steps);
    const double warmup = std::max(1.0, 0.1 * steps);
    const double done = static_cast<double>(step);
    if (done < warmup) return options_.learning_rate * (done + 1) / warmup;
    return options_.learning_rate * 0.5 *
           (1 + std::cos(std::numbers::pi * (done - warmup) / std::max(1.0, steps - warmup)));
  }

  /// Of whole pictures, but for smoothness.
  at::Tensor loss_of(int64_t first, int64_t count) {
    const at::Tensor pictures = pixels_.narrow(0, first, count);
    const train::Module::Result seen = module_.forward({&pictures, 1}, taps_);
    at::Tensor loss = at::zeros({});
    if (classes_ > 0) {
      const auto targets =
          std::span(targets_).subspan(static_cast<size_t>(first), static_cast<size_t>(count));
      const at::Tensor wanted = at::stack(at::TensorList(targets.data(), targets.size()));
      loss = loss + train::target_cross_entropy(seen.outputs[0], wanted).mean();
    }
    if (priors_) {
      loss = loss + options_.attention_weight * priors_->loss(seen.taps, first, count);
    }
    for (size_t i = 0; i < mixed_.size() && i < attentions_.size(); ++i) {
      loss = loss - patch_similarity_entropy(
                        patches_of(seen.taps.at(mixed_[i]), attentions_[i], count), random_);
    }
    if (!statistics_.empty()) loss = loss + statistics_mismatch(seen.taps, statistics_);
    return loss;
  }

  /// Of one region of each picture, drawn anew, times how many it has: the sum over all of them on
  /// average, at a fraction of the time.
  at::Tensor region_loss(int64_t first, int64_t count) {
    at::Tensor loss = at::zeros({});
    std::vector<at::Tensor> shown, wanted;
    std::vector<float> weights;
    for (int64_t i = first; i < first + count; ++i) {
      const std::vector<PictureRegion>& regions = meanings_[static_cast<size_t>(i)].regions;
      if (regions.empty()) continue;
      const size_t chosen = std::uniform_int_distribution<size_t>(0, regions.size() - 1)(random_);
      shown.push_back(enlarged(pixels_[i], regions[chosen]));
      wanted.push_back(region_targets_[static_cast<size_t>(i)][chosen]);
      weights.push_back(static_cast<float>(regions.size()));
    }
    if (shown.empty()) return loss;
    const at::Tensor logits = module_(at::stack(shown));
    const at::Tensor errors = train::target_cross_entropy(logits, at::stack(wanted));
    return (errors * at::tensor(weights)).sum() / static_cast<double>(count);
  }

  void keep_in_range() {
    const at::NoGradGuard no_gradient;
    for (int64_t c = 0; c < shape_[0]; ++c) {
      const auto channel = static_cast<size_t>(c);
      at::Tensor plane = pixels_.select(1, c);
      plane.clamp_(std::min(options_.black[channel], options_.white[channel]),
                   std::max(options_.black[channel], options_.white[channel]));
    }
  }

  const Graph& graph_;
  const SynthesisOptions& options_;
  PictureGoals goals_;
  const quantize::Progress& progress_;
  Shape shape_;      // channels, height, width
  int64_t at_once_;  // pictures in a run
  std::mt19937_64 random_;
  train::Module module_;
  at::Tensor pixels_;  // [pictures, channels, height, width]
  int64_t classes_ = 0;
  std::vector<PatchAttention> attentions_;
  std::optional<AttentionPriors> priors_;
  std::vector<std::string> mixed_;
  std::vector<NormStatistics> statistics_;
  std::vector<std::string> taps_;
  std::vector<PictureMeaning> meanings_;
  std::vector<at::Tensor> targets_;                      // by picture
  std::vector<std::vector<at::Tensor>> region_targets_;  // by picture and region
};

}  // namespace

PictureGoals goals_for(const Graph& graph) {
  if (!norm_statistics(graph).empty()) return *picture_goals_from_name("batch-norm");
  if (!attention_maps(graph).empty()) return *picture_goals_from_name("sardfq");
  throw Error(
      "no pictures can be made for this model: it has neither BatchNormalization layers, whose "
      "statistics they could match, nor attention, softmax(q k^T) v, that they could guide",
      {}, "--data with pictures, or --dynamic token");
}

std::vector<Tensor> synthesize(const Graph& graph, const SynthesisOptions& options,
                               const quantize::Progress& progress) {
  train::set_threads(options.threads);
  return Synthesizer(graph, options, progress).run();
}

}  // namespace ounce::methods
