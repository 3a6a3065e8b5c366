#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "settings/settings.h"
#include "train/insert.h"
#include "train/module.h"
#include "train/quantizers/slices.h"

namespace ounce::methods {

/// The layers that keep more than one bit: the first convolution, 1x1 convolutions, the classifier.
enum class Ends { kFloat, kEightBits };

/// The key `ends` of a stage: "float" or "w8a8".
Ends read_ends(Settings& stage, Ends fallback = Ends::kFloat);

/// What becomes binary: convolutions with weights of more than one pixel, but the network's first.
std::vector<train::ProductLayer> binary_layers(const Graph& graph);

/// Makes what rounds the weights of a binary layer, a scale an output channel.
using MakeSignWeight =
    std::function<std::shared_ptr<train::Quantizer>(const train::Slices& channels)>;

/// Binary layers read signs (polynomial slope, Bi-Real Net) and have the weights that `weights`
/// makes, or float ones without it. Eight bits of the ends are LSQ's. The graph's layers, names and
/// order stay. Throws `Error` when nothing can be binary, or when a binary layer would read what is
/// never negative.
train::Student binary_network(const Graph& graph, Ends ends,
                              const MakeSignWeight& weights = nullptr);

/// What methods measure of binary weights, over the steps since it was last asked for:
/// "flip_rate/<FakeQuant node>", the mean share of weights that change sign in a step, and
/// "stuck/<FakeQuant node>", the share of channels in which none has. Layers that have not been
/// trained are left out.
std::map<std::string, double> take_flips(const train::Module& module);

}  // namespace ounce::methods
