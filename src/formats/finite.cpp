#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "formats/formats.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

enum class Finding { none, infinity, nan };

/// Infinity and NaN are the numbers whose exponent bits are all set; NaN has a fraction as well.
template <class Bits>
struct FloatLayout {
  Bits exponent;
  Bits fraction;

  Finding classify(Bits bits) const {
    if ((bits & exponent) != exponent) return Finding::none;
    return (bits & fraction) != 0 ? Finding::nan : Finding::infinity;
  }
};

struct Place {
  Finding finding = Finding::none;
  int64_t index = 0;
};

/// Whether any element has all exponent bits set; one pass without a branch an element, since whole
/// models are looked through and almost all are sound.
template <class Bits>
bool has_special(const std::byte* data, int64_t count, Bits exponent) {
  bool found = false;
  for (int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, data + static_cast<size_t>(i) * sizeof(Bits), sizeof(Bits));
    found |= (bits & exponent) == exponent;
  }
  return found;
}

/// The first NaN; where there is none and infinities count, the first infinity.
template <class Bits>
Place first_bad(const Tensor& tensor, FloatLayout<Bits> layout, bool infinities_count) {
  Place place;
  if (!has_special(tensor.raw(), tensor.size(), layout.exponent)) return place;
  for (int64_t i = 0; i < tensor.size(); ++i) {
    Bits bits;
    std::memcpy(&bits, tensor.raw() + static_cast<size_t>(i) * sizeof(Bits), sizeof(Bits));
    const Finding finding = layout.classify(bits);
    if (finding == Finding::nan) return {finding, i};
    if (finding == Finding::infinity && infinities_count && place.finding == Finding::none) {
      place = {finding, i};
    }
  }
  return place;
}

Place find_bad(const Tensor& tensor, bool infinities_count) {
  switch (tensor.dtype()) {
    case DType::f32:
      return first_bad<uint32_t>(tensor, {0x7f800000u, 0x007fffffu}, infinities_count);
    case DType::f16:
      return first_bad<uint16_t>(tensor, {0x7c00, 0x03ff}, infinities_count);
    case DType::bf16:
      return first_bad<uint16_t>(tensor, {0x7f80, 0x007f}, infinities_count);
    case DType::f64:
      return first_bad<uint64_t>(tensor, {0x7ff0000000000000u, 0x000fffffffffffffu},
                                 infinities_count);
    default:
      return {};
  }
}

bool is_weighted(std::string_view op) {
  static constexpr std::array<std::string_view, 9> kWeighted = {
      "Conv",      "ConvTranspose",  "MatMul",           "Gemm", "Einsum",
      "Attention", "QuantizeLinear", "DequantizeLinear", "PRelu"};
  return std::find(kWeighted.begin(), kWeighted.end(), op) != kWeighted.end() ||
         op.ends_with("Normalization") || op.ends_with("Norm");
}

std::string position(int64_t flat, const Shape& shape) {
  Shape index(shape.size());
  for (size_t axis = shape.size(); axis-- > 0;) {
    index[axis] = flat % shape[axis];
    flat /= shape[axis];
  }
  return to_string(index);
}

}  // namespace

void check_finite(const Graph& graph) {
  std::vector<const Node*> reader(graph.values.size(), nullptr);
  std::vector<bool> weighs(graph.values.size(), false);
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.inputs) {
      if (id == kNoValue) continue;
      const auto index = static_cast<size_t>(id);
      if (reader[index] == nullptr) reader[index] = &node;
      if (is_weighted(node.op)) weighs[index] = true;
    }
  }
  for (size_t i = 0; i < graph.values.size(); ++i) {
    const Value& value = graph.values[i];
    const Place place = find_bad(value.constant, weighs[i]);
    if (place.finding == Finding::none) continue;
    std::string where = "tensor '" + value.name + "'";
    if (reader[i] != nullptr) where += ", read by node '" + reader[i]->name + "'";
    throw Error(std::string(place.finding == Finding::nan ? "holds NaN" : "holds infinity") +
                    " at " + position(place.index, value.constant.shape()),
                where, "the weights are damaged; export the model again");
  }
}

}  // namespace ounce::formats
