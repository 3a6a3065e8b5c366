#include "methods/trained/lsq.h"

#include <memory>

#include "methods/trained/attention.h"
#include "train/quantizers/lsq.h"

namespace ounce::methods {
namespace {

constexpr int kEndBits = 8;

std::shared_ptr<train::Quantizer> activation(int bits, const LowBitSettings& settings) {
  train::LsqOptions options;
  options.bits = bits;
  options.learn_zero_point = settings.learn_zero_points;
  return std::make_shared<train::LsqActivation>(options);
}

std::shared_ptr<train::Quantizer> weight(int bits, const train::ProductLayer& layer) {
  train::LsqOptions options;
  options.bits = bits;
  options.slices = {layer.channel_axis, layer.channels};
  return std::make_shared<train::LsqWeight>(options);
}

class Lsq final : public TrainedMethod {
 public:
  explicit Lsq(const LowBitSettings& settings) : settings_(settings) {}
  train::Student student(const Graph& network) override { return lsq(network, settings_); }

 private:
  LowBitSettings settings_;
};

}  // namespace

LowBitSettings read_low_bit_settings(Settings& stage) {
  LowBitSettings bits;
  bits.weight_bits = static_cast<int>(stage.integer("weights", 2, 8).value_or(bits.weight_bits));
  bits.activation_bits =
      static_cast<int>(stage.integer("activations", 2, 8).value_or(bits.activation_bits));
  bits.ends_at_8_bits = stage.flag("ends_at_8_bits").value_or(bits.ends_at_8_bits);
  bits.learn_zero_points = stage.flag("learn_zero_points").value_or(bits.learn_zero_points);
  return bits;
}

std::unique_ptr<TrainedMethod> read_lsq(Settings& stage) {
  return std::make_unique<Lsq>(read_low_bit_settings(stage));
}

train::Student lsq(const Graph& graph, const LowBitSettings& settings) {
  const std::vector<bool> is_end = end_layers(graph);
  train::FakeQuantInserter inserter(graph);
  for (const train::ProductLayer& layer : train::product_layers(graph)) {
    const bool wide = settings.ends_at_8_bits && is_end[static_cast<size_t>(layer.node)];
    const int bits = wide ? kEndBits : settings.activation_bits;
    const size_t activations = layer.has_weights ? 1 : 2;
    for (size_t operand = 0; operand < activations; ++operand) {
      // An end reads its own, finer grid of a value that others read too.
      const std::string name =
          inserter.shared_name(layer.node, operand) + (wide ? std::to_string(kEndBits) : "");
      inserter.quantize(layer.node, operand, name, [&] { return activation(bits, settings); });
    }
    if (!layer.has_weights) continue;
    inserter.quantize(layer.node, 1, inserter.shared_name(layer.node, 1),
                      [&] { return weight(wide ? kEndBits : settings.weight_bits, layer); });
  }
  return inserter.finish();
}

}  // namespace ounce::methods
