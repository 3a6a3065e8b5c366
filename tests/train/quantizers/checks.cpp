#include "tests/train/quantizers/checks.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/reference/reference.h"
#include "graph/error.h"
#include "train/tensor.h"

namespace ounce::train::testing {
namespace {

at::Tensor along(const at::Tensor& values, int64_t axis, const at::Tensor& x) {
  if (values.numel() == 1) return values;
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[static_cast<size_t>(axis)] = values.numel();
  return values.reshape(shape);
}

Tensor evaluate(std::string_view op, const std::vector<Tensor>& inputs, AttributeMap attributes) {
  Node node;
  node.op = op;
  node.name = "deployed";
  for (size_t i = 0; i < inputs.size(); ++i) node.inputs.push_back(static_cast<ValueId>(i));
  node.outputs = {static_cast<ValueId>(inputs.size())};
  node.attributes = std::move(attributes);
  return engine::reference::evaluate(node, inputs).at(0);
}

/// One scale of a tensor without dimensions, as the graph has it; else along the axis.
Tensor operand(const at::Tensor& values) {
  return from_torch(values.numel() == 1 ? values.reshape({}) : values);
}

at::Tensor deployed_codes(const AffineGrid& grid, const at::Tensor& x) {
  const at::Tensor scale = along(grid.scale, grid.axis, x);
  const at::Tensor zero = along(grid.zero_point, grid.axis, x);
  const at::Tensor clipped =
      at::minimum(at::maximum(x, scale * (grid.lowest - zero)), scale * (grid.highest - zero));
  AttributeMap attributes;
  attributes.set("axis", grid.axis);
  const Tensor steps = operand(grid.scale);
  const Tensor zeros = operand((grid.zero_point - grid.lowest).to(at::kByte));
  const Tensor codes = evaluate("QuantizeLinear", {from_torch(clipped), steps, zeros}, attributes);
  return to_torch(evaluate("DequantizeLinear", {codes, steps, zeros}, attributes));
}

::testing::AssertionResult compare(const at::Tensor& actual, const at::Tensor& expected,
                                   double tolerance) {
  if (actual.sizes() != expected.sizes()) {
    return ::testing::AssertionFailure()
           << "shapes " << actual.sizes() << " and " << expected.sizes();
  }
  if (actual.numel() == 0) return ::testing::AssertionSuccess();
  const at::Tensor a = actual.detach().to(at::kDouble).flatten();
  const at::Tensor e = expected.detach().to(at::kDouble).flatten();
  // NaN compares false with everything: count what is near, not what is far.
  const at::Tensor difference = (a - e).abs();
  if (difference.le(tolerance).all().item<bool>()) return ::testing::AssertionSuccess();
  const auto worst = difference.nan_to_num(INFINITY).argmax().item<int64_t>();
  return ::testing::AssertionFailure()
         << "element " << worst << " of " << actual.sizes() << ": got " << a[worst].item<double>()
         << ", expected " << e[worst].item<double>() << ", tolerance " << tolerance;
}

}  // namespace

at::Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  at::manual_seed(seed);
  return at::randn(shape, at::kDouble);
}

at::Tensor normal_f32(at::IntArrayRef shape, uint64_t seed) {
  return normal(shape, seed).to(at::kFloat);
}

void assign(const at::Tensor& parameter, const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  parameter.copy_(value);
}

at::Tensor named(Quantizer& quantizer, std::string_view name) {
  for (const auto& tensors : {quantizer.parameters(), quantizer.buffers()}) {
    for (const NamedTensor& own : tensors) {
      if (own.name == name) return own.tensor;
    }
  }
  throw Error("no parameter or buffer " + std::string(name));
}

at::Tensor numeric_gradient(const std::function<at::Tensor(const at::Tensor&)>& f,
                            const at::Tensor& x) {
  // Truncation ~ h^2, cancellation ~ 1e-16 / h.
  constexpr double kStep = 1e-6;
  at::Tensor at_point = x.detach().clone().contiguous();
  at::Tensor result = at::zeros_like(at_point);
  at::Tensor flat = at_point.view(-1);
  for (int64_t i = 0; i < flat.numel(); ++i) {
    const double here = flat[i].item<double>();
    flat[i] = here + kStep;
    const double above = f(at_point).item<double>();
    flat[i] = here - kStep;
    const double below = f(at_point).item<double>();
    flat[i] = here;
    result.view(-1)[i] = (above - below) / (2 * kStep);
  }
  return result;
}

at::Tensor autograd_gradient(const std::function<at::Tensor(const at::Tensor&)>& f,
                             const at::Tensor& x, const at::Tensor& weights) {
  at::Tensor leaf = x.detach().clone().requires_grad_(true);
  (f(leaf) * weights).sum().backward();
  return leaf.grad();
}

::testing::AssertionResult same(const at::Tensor& actual, const at::Tensor& expected) {
  return compare(actual, expected, 0.0);
}

::testing::AssertionResult near(const at::Tensor& actual, const at::Tensor& expected,
                                double tolerance) {
  return compare(actual, expected, tolerance);
}

at::Tensor deployed(const Grid& grid, const at::Tensor& x) {
  if (const auto* affine = std::get_if<AffineGrid>(&grid)) return deployed_codes(*affine, x);
  const auto& signs = std::get<SignGrid>(grid);
  AttributeMap attributes;
  attributes.set("axis", signs.axis);
  attributes.set("unsigned", static_cast<int64_t>(signs.is_map));
  return to_torch(evaluate("Binarize", {from_torch(x), operand(signs.scale)}, attributes));
}

at::Tensor awkward_values(const Grid& grid, uint64_t seed) {
  const bool affine = std::holds_alternative<AffineGrid>(grid);
  const at::Tensor scale =
      affine ? std::get<AffineGrid>(grid).scale : std::get<SignGrid>(grid).scale;
  const int64_t axis = affine ? std::get<AffineGrid>(grid).axis : std::get<SignGrid>(grid).axis;
  const int64_t reach =
      affine ? std::get<AffineGrid>(grid).highest - std::get<AffineGrid>(grid).lowest : 2;
  const at::Tensor half_way = at::arange(-reach - 3, reach + 4, at::kFloat) + 0.5;
  at::manual_seed(seed);
  const at::Tensor random = at::randn({500}) * static_cast<double>(reach + 3);
  const at::Tensor row = at::cat({half_way, half_way - 0.5, random, at::zeros({2}).neg()});
  // [slices, row], then the slices where they belong.
  const at::Tensor rows = scale.detach().reshape({-1, 1}) * row;
  return rows.transpose(0, axis < 0 ? axis + 2 : std::min<int64_t>(axis, 1)).contiguous();
}

}  // namespace ounce::train::testing
