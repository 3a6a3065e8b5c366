#include "quantize/analysis/chosen_grid.h"

#include <algorithm>
#include <cmath>

namespace ounce::quantize {

float ChosenGrid::nearest(float x) const {
  return std::clamp(std::nearbyint(x / step) * step, range.low, range.high);
}

std::optional<ChosenGrid> chosen_grid(const Graph& graph, const GraphIndex& index, int quantizer) {
  const Node& quantize = graph.nodes[static_cast<size_t>(quantizer)];
  const Tensor* scale = graph.constant(quantize.input(1));
  const Tensor* zero_point = graph.constant(quantize.input(2));
  if (scale == nullptr || scale->size() != 1) return std::nullopt;
  if (zero_point != nullptr && zero_point->size() != 1) return std::nullopt;
  const auto zero = zero_point != nullptr ? zero_point->to_i64()[0] : 0;
  const bool is_signed = graph.value(quantize.output(0)).dtype == DType::i8;
  ChosenGrid grid;
  grid.step = scale->to_f32()[0];
  grid.range = {grid.step * static_cast<float>((is_signed ? -128 : 0) - zero),
                grid.step * static_cast<float>((is_signed ? 127 : 255) - zero)};
  const int producer = index.producer(quantize.input(0));
  if (producer < 0) return grid;
  const Node& clip = graph.nodes[static_cast<size_t>(producer)];
  if (clip.op != "Clip") return grid;
  const Tensor* low = graph.constant(clip.input(1));
  const Tensor* high = graph.constant(clip.input(2));
  if (low != nullptr) grid.range.low = std::max(grid.range.low, low->to_f32()[0]);
  if (high != nullptr) grid.range.high = std::min(grid.range.high, high->to_f32()[0]);
  grid.ternary = !is_signed && zero == 1 && std::round(grid.range.high / grid.step) == 1.0F;
  if (grid.ternary) {
    grid.bits = kTernaryBitCount;
    return grid;
  }
  const double codes = std::round((grid.range.high - grid.range.low) / grid.step) + 1.0;
  grid.bits = std::clamp(static_cast<int>(std::ceil(std::log2(codes) - 1e-9)), 1, kMaxBits);
  return grid;
}

}  // namespace ounce::quantize
