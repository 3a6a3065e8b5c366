#include "methods/trained/block_tuning/saved_blocks.h"

#include <algorithm>
#include <charconv>

#include "graph/error.h"
#include "quantize/quantizer.h"
#include "train/checkpoint.h"
#include "train/tensor.h"

namespace ounce::methods {
namespace {

using quantize::Calibration;
using quantize::LayerPlan;
using quantize::Plan;

int grid_read_by(const Graph& prepared, const Plan& plan, const LayerPlan& layer) {
  const ValueId input = prepared.nodes[static_cast<size_t>(layer.node)].input(0);
  return plan.grid_of[static_cast<size_t>(input)];
}

/// Whether a bias fits the accumulator of a layer that reads a grid of this scale.
bool fits(const quantize::QuantizedLayer& layer, const std::vector<float>& bias, float scale) {
  const auto scales = layer.weights.scales.data<float>();
  for (size_t c = 0; c < bias.size(); ++c) {
    const float weight_scale = scales[scales.size() == 1 ? 0 : c];
    if (weight_scale < quantize::least_weight_scale(bias[c], scale)) return false;
  }
  return true;
}

/// Whether the biases of all layers that read the grid fit their accumulators.
bool biases_fit(const Graph& prepared, const Plan& plan, const Calibration& calibration,
                const LearnedNumbers& learned, size_t grid, float scale) {
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    if (!plan.layers[i].weights || !plan.layers[i].reads_grid()) continue;
    if (grid_read_by(prepared, plan, plan.layers[i]) != static_cast<int>(grid)) continue;
    const quantize::QuantizedLayer& layer = calibration.layers[i];
    const auto changed = learned.biases.find(i);
    const std::vector<float> bias = changed != learned.biases.end() ? changed->second
                                    : layer.bias.defined()          ? layer.bias.to_f32()
                                                                    : std::vector<float>{};
    if (!fits(layer, bias, scale)) return false;
  }
  return true;
}

void check(const LearnedNumbers& learned, const Calibration& calibration) {
  const auto& layers = calibration.layers;
  bool sound = true;
  for (const auto& [i, codes] : learned.codes) {
    sound = sound && i < layers.size() && layers[i].weights.codes.defined() &&
            codes.dtype() == DType::i8 && codes.shape() == layers[i].weights.codes.shape();
  }
  for (const auto& [i, bias] : learned.biases) {
    sound = sound && i < layers.size() && layers[i].bias.defined() &&
            static_cast<int64_t>(bias.size()) == layers[i].bias.size();
  }
  for (const auto& [i, scale] : learned.scales) {
    sound = sound && i < calibration.grids.size() && scale > 0.0F;
  }
  if (!sound)
    throw Error("tuned blocks of another plan", {}, "removing the file they were kept in");
}

std::string key(size_t block, size_t unit, const char* kind, size_t index) {
  return std::to_string(block) + "." + std::to_string(unit) + "." + kind + "." +
         std::to_string(index);
}

}  // namespace

LearnedNumbers learned_numbers(const Graph& prepared, const Plan& plan,
                               const Calibration& calibration, const TunedPart& part) {
  LearnedNumbers learned;
  for (const auto& [layer, quantizer] : part.weights) {
    learned.codes[layer] = train::from_torch(quantizer->codes());
  }
  for (const auto& [layer, name] : part.biases) {
    std::vector<float> bias = train::from_torch(part.module.tensor(name).detach()).to_f32();
    const int grid = grid_read_by(prepared, plan, plan.layers[layer]);
    const bool bounded = plan.layers[layer].reads_grid() && grid >= 0;
    if (bounded && !fits(calibration.layers[layer], bias,
                         calibration.grids[static_cast<size_t>(grid)].scale)) {
      continue;
    }
    learned.biases[layer] = std::move(bias);
  }
  for (const auto& [grid, quantizer] : part.grids) {
    const float scale = quantizer->grid().scale;
    if (biases_fit(prepared, plan, calibration, learned, grid, scale)) learned.scales[grid] = scale;
  }
  return learned;
}

void apply(const Graph& prepared, const Plan& plan, const LearnedNumbers& learned,
           Calibration& calibration) {
  check(learned, calibration);
  for (const auto& [grid, scale] : learned.scales) calibration.grids[grid].scale = scale;
  for (const auto& [layer, codes] : learned.codes) calibration.layers[layer].weights.codes = codes;
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    if (!plan.layers[i].weights) continue;
    const auto bias = learned.biases.find(i);
    if (bias != learned.biases.end()) {
      quantize::set_bias(prepared, plan, i, bias->second, calibration);
      continue;
    }
    const int grid = grid_read_by(prepared, plan, plan.layers[i]);
    const bool changed = grid >= 0 && learned.scales.contains(static_cast<size_t>(grid));
    if (!changed || !calibration.layers[i].bias.defined()) continue;
    quantize::set_bias(prepared, plan, i, calibration.layers[i].bias.to_f32(), calibration);
  }
}

SavedBlocks::SavedBlocks(std::filesystem::path path, std::string identity)
    : path_(std::move(path)), identity_(std::move(identity)) {
  if (!path_.empty() && std::filesystem::exists(path_)) read();
}

void SavedBlocks::add_block(std::vector<LearnedNumbers> units) {
  units_.push_back(std::move(units));
  if (!path_.empty()) write();
}

void SavedBlocks::write() const {
  train::Checkpoint checkpoint;
  checkpoint.facts["identity"] = identity_;
  checkpoint.facts["blocks"] = std::to_string(units_.size());
  for (size_t b = 0; b < units_.size(); ++b) {
    for (size_t u = 0; u < units_[b].size(); ++u) {
      const LearnedNumbers& unit = units_[b][u];
      for (const auto& [i, codes] : unit.codes) {
        checkpoint.tensors[key(b, u, "codes", i)] = train::to_torch(codes);
      }
      for (const auto& [i, bias] : unit.biases) {
        checkpoint.tensors[key(b, u, "bias", i)] = at::tensor(bias);
      }
      for (const auto& [i, scale] : unit.scales) {
        checkpoint.tensors[key(b, u, "scale", i)] = at::tensor(scale);
      }
    }
  }
  train::write_checkpoint(checkpoint, path_);
}

void SavedBlocks::read() {
  const train::Checkpoint checkpoint = train::read_checkpoint(path_);
  const auto identity = checkpoint.facts.find("identity");
  if (identity == checkpoint.facts.end() || identity->second != identity_) return;
  const std::string& count = checkpoint.fact("blocks");
  size_t blocks = 0;
  std::from_chars(count.data(), count.data() + count.size(), blocks);
  units_.resize(std::min<size_t>(blocks, checkpoint.tensors.size() + 1));
  for (const auto& [name, tensor] : checkpoint.tensors) {
    size_t block = 0;
    size_t unit = 0;
    size_t index = 0;
    char kind[8] = {};
    if (std::sscanf(name.c_str(), "%zu.%zu.%7[a-z].%zu", &block, &unit, kind, &index) != 4 ||
        block >= units_.size() || unit > checkpoint.tensors.size()) {
      throw Error("is no record of tuned blocks", path_.string(), "removing it");
    }
    if (units_[block].size() <= unit) units_[block].resize(unit + 1);
    const Tensor value = train::from_torch(tensor);
    if (std::string_view(kind) == "codes") units_[block][unit].codes[index] = value;
    if (std::string_view(kind) == "bias") units_[block][unit].biases[index] = value.to_f32();
    if (std::string_view(kind) == "scale") units_[block][unit].scales[index] = value.to_f32().at(0);
  }
}

}  // namespace ounce::methods
