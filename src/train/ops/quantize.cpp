#include "train/ops/common.h"
#include "train/ops/families.h"

namespace ounce::train::ops {
namespace {

/// Scales or zero points in a shape that broadcasts with x: one for all; one an index of `axis`; or
/// one a block of `block_size` elements along `axis`.
at::Tensor spread(const OpCall& call, const at::Tensor& parameter) {
  const at::Tensor& x = call.input(0);
  const int64_t block = call.attributes().get_int("block_size", 0);
  require(block >= 0, "negative block_size");
  if (block == 0 && parameter.numel() == 1 && parameter.dim() <= 1) return parameter.reshape({});
  const int64_t axis = axis_of(call, 1);
  if (block == 0) {
    require(parameter.dim() == 1 && parameter.numel() == x.size(axis),
            "not one scale an index of the axis");
    return along_axis(parameter, axis, x.dim());
  }
  std::vector<int64_t> wanted = x.sizes().vec();
  int64_t& blocks = wanted[static_cast<size_t>(axis)];
  blocks = (blocks + block - 1) / block;
  require(parameter.sizes().equals(wanted), "the scales have not the shape of the blocks");
  const at::Tensor elements =
      at::arange(x.size(axis), at::TensorOptions(at::kLong).device(x.device()));
  return parameter.index_select(axis, elements.div(block, "floor"));
}

/// x = (q - zero_point) * scale, for codes as integers (a constant) or floats (just quantized).
Outputs dequantize_linear(const OpCall& call) {
  const at::Tensor scale = spread(call, call.input(1));
  at::Tensor codes = call.input(0).to(scale.scalar_type());
  if (call.has(2)) codes = codes - spread(call, call.inputs[2]).to(scale.scalar_type());
  return {codes * scale};
}

constexpr OpRow kRows[] = {
    {"DequantizeLinear", dequantize_linear},
};

}  // namespace

Family quantize_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
