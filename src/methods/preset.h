#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "graph/graph.h"
#include "methods/method.h"

namespace ounce::methods {

/// How much time compressing may take: about one minute, five, thirty.
enum class Preset : uint8_t { kFast, kGood, kBest };

/// "fast", "good", "best"; nullopt otherwise.
std::optional<Preset> preset_from_name(std::string_view name);

/// What a preset chooses.
struct PresetChoice {
  std::map<std::string, std::string> options;  // of every method (`common_options`)
  quantize::SoftmaxCodes softmax = quantize::SoftmaxCodes::kUniform;
};

/// What suits the kind of network and the bits of the request:
///
/// - weights alone: GPTQ;
/// - 8 bits: as calibrated, transformers with SmoothQuant where it pays;
/// - transformers below 8 bits: RepQ and GPTQ, and but for `fast` searched weight scales, or blocks
///   tuned straight through where weights have fewer than 4 bits or activations 4 and fewer;
/// - convolutions: `fast` GPTQ, else below 6 bits of weights BRECQ, or blocks tuned straight
///   through where activations have fewer than 8; layer by layer (AdaRound) where shortcuts leave
///   one block of most layers; GPTQ where the network is no chain of blocks;
///
/// first and last layers of 8 bits, ranges of narrow activations by weighed errors (but `fast`),
/// and softmax maps in logarithmic codes below 5 bits. Steps of learned rounding are as many as
/// `pictures` bear, and as the time allows by the network's multiplications (`macs` a run), so that
/// the same command gives the same result everywhere.
PresetChoice preset_choice(Preset preset, const Graph& graph, const Request& request, int64_t macs,
                           int64_t pictures);

/// The choice as flags that say the same: "--softmax log-sqrt2 --option norms=repq ...".
std::string flags_text(const PresetChoice& choice);

/// Multiply-accumulates of one run: of one picture where the number of them is open, of 128 x 128
/// pixels where these are.
int64_t macs_of_run(const Graph& graph);

}  // namespace ounce::methods
