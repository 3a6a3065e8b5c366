#include "quantize/rounding/input_grams.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "engine/reference/reference.h"
#include "quantize/insert_qdq.h"
#include "quantize/tapped_run.h"
#include "tests/quantize/graphs.h"
#include "tests/quantize/planned.h"

namespace ounce::quantize {
namespace {

using testing::Builder;

/// Rows of what a layer reads, as its weights see them; tokens of equal size.
std::vector<std::vector<float>> rows_of(const Tensor& x, int64_t window) {
  std::vector<std::vector<float>> rows;
  const auto values = x.data<float>();
  const Shape& shape = x.shape();
  if (window == 0) {
    const auto size = static_cast<size_t>(shape.back());
    for (size_t first = 0; first < values.size(); first += size) {
      auto& row = rows.emplace_back(values.begin() + static_cast<int64_t>(first),
                                    values.begin() + static_cast<int64_t>(first + size));
      const double square = std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
      const double root = std::sqrt(square / static_cast<double>(size));
      for (float& value : row) value = root > 0.0 ? static_cast<float>(value / root) : 0.0F;
    }
    return rows;
  }
  for (int64_t n = 0; n < shape[0]; ++n) {
    for (int64_t i = 0; i < shape[2]; i += window) {
      for (int64_t j = 0; j < shape[3]; j += window) {
        auto& row = rows.emplace_back();
        for (int64_t c = 0; c < shape[1]; ++c) {
          for (int64_t tap = 0; tap < window * window; ++tap) {
            const int64_t line = (n * shape[1] + c) * shape[2] + i + tap / window;
            row.push_back(values[static_cast<size_t>(line * shape[3] + j + tap % window)]);
          }
        }
      }
    }
  }
  return rows;
}

TEST(InputGrams, are_the_sums_of_products_of_what_layers_read) {
  Builder b(3);
  const ValueId image = b.input("image", {2, 3, 8, 12});
  AttributeMap patches;
  patches.set("strides", std::vector<int64_t>{4, 4});
  const ValueId embedded = b.op(
      "Conv", {image, b.graph.add_constant("we", b.random({6, 3, 4, 4}, 0.2F))}, "embed", patches);
  const ValueId mixed = b.op("Relu", {b.conv(embedded, 6, 8, 1, "mix")}, "relu");
  const ValueId blurred = b.conv(mixed, 8, 8, 3, "blur");  // overlapping windows: no sums
  const ValueId tokens = b.op(
      "Reshape", {blurred, b.graph.add_constant("shape", Tensor::of_i64({2, 6, 8}))}, "tokens");
  const Graph source =
      b.finish({b.linear(tokens, 8, 5, "first"), b.linear(tokens, 8, 4, "second")});
  const testing::Planned planned = testing::planned(source, Options());
  const Graph quantized =
      insert_qdq(planned.graph, planned.plan, placeholder_calibration(planned.graph, planned.plan));

  std::vector<std::vector<Tensor>> runs;
  for (unsigned seed = 1; seed <= 3; ++seed) runs.push_back(testing::random_inputs(source, seed));
  TensorSource data(runs);
  std::map<std::string, Gram> grams;
  InputGrams(planned.graph, quantized, planned.plan)
      .for_each(data, 1, {}, [&](size_t layer, const Gram& gram) {
        const int node = planned.plan.layers[layer].node;
        grams[planned.graph.nodes[static_cast<size_t>(node)].name] = gram;
      });
  const std::map<std::string, int64_t> windows = {
      {"embed", 4}, {"mix", 1}, {"first.matmul", 0}, {"second.matmul", 0}};
  ASSERT_EQ(grams.size(), windows.size());
  for (const auto& [name, window] : windows) {
    ASSERT_EQ(grams.count(name), 1U) << name;
    const Gram& gram = grams[name];
    const auto node = std::find_if(quantized.nodes.begin(), quantized.nodes.end(),
                                   [&](const Node& one) { return one.name == name; });
    const std::string read = quantized.value(node->input(0)).name;
    std::vector<double> sums(gram.sums.size(), 0.0);
    for (const auto& inputs : runs) {
      TappedRun(quantized, {read}, 1).run(inputs, [&](std::string_view, const Tensor& x) {
        for (const auto& row : rows_of(x, window)) {
          ASSERT_EQ(static_cast<int64_t>(row.size()), gram.size) << name;
          for (size_t i = 0; i < row.size(); ++i) {
            for (size_t j = 0; j < row.size(); ++j) {
              sums[i * row.size() + j] += static_cast<double>(row[i]) * row[j];
            }
          }
        }
      });
    }
    for (size_t i = 0; i < sums.size(); ++i) {
      ASSERT_NEAR(gram.sums[i], sums[i], 1e-3 * (1.0 + std::abs(sums[i]))) << name << ' ' << i;
    }
  }
}

}  // namespace
}  // namespace ounce::quantize
