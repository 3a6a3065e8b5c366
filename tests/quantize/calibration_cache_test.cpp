// Calibrations put together piece by piece against those made in one go, and parts of plans.
#include "quantize/calibration_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/session.h"
#include "quantize/plan/plan_part.h"
#include "quantize/quantizer.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

using testing::random_inputs;

TensorSource inputs_for(const Graph& graph) {
  std::vector<std::vector<Tensor>> runs;
  for (unsigned seed = 1; seed <= 6; ++seed) runs.push_back(random_inputs(graph, seed));
  return TensorSource(std::move(runs));
}

std::vector<float> outputs_of(const Graph& graph, const std::vector<Tensor>& inputs) {
  engine::Session session(graph);
  return session.run(inputs)[0].to_f32();
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0.0;
  double energy = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    energy += std::pow(static_cast<double>(a[i]), 2);
  }
  return std::sqrt(difference / energy);
}

/// Counts the readings of the data.
class CountingSource final : public InputSource {
 public:
  explicit CountingSource(TensorSource source) : source_(std::move(source)) {}
  void restart() override {
    source_.restart();
    at_start_ = true;
  }
  std::optional<std::vector<Tensor>> next() override {
    auto run = source_.next();
    if (!run && !at_start_) ++readings;
    at_start_ = false;
    return run;
  }
  std::optional<int64_t> size() const override { return source_.size(); }
  int readings = 0;

 private:
  TensorSource source_;
  bool at_start_ = true;
};

TEST(CalibrationCache, GivesWhatOneCalibrationGives) {
  for (const Graph& graph : {testing::residual_network(), testing::vit_block()}) {
    CountingSource source(inputs_for(graph));
    CalibrationCache cache;
    Options options;
    options.bias_correction = true;
    for (const char* change : {"*:weights=8", "*:weights=4", "*:activations=4", "*:weights=8"}) {
      options.overrides = {parse_override(change)};
      const QuantizeResult cached = quantize(graph, options, source, {}, {}, &cache);
      const QuantizeResult fresh = quantize(graph, options, source);
      const std::vector<Tensor> inputs = random_inputs(graph, 9);
      EXPECT_LT(
          relative_difference(outputs_of(fresh.graph, inputs), outputs_of(cached.graph, inputs)),
          1e-3)
          << change;
    }
    const int before = source.readings;
    quantize(graph, options, source, {}, {}, &cache);
    EXPECT_EQ(source.readings, before);  // all is known
  }
}

TEST(CalibrationCache, DoesNotServeWhereLayersDependOnEachOther) {
  Options options;
  EXPECT_TRUE(CalibrationCache::serves({}, options));
  options.rounding = Rounding::kGptq;
  EXPECT_FALSE(CalibrationCache::serves({}, options));
}

TEST(PlanPart, OfAllLayersWithTheirInputsIsTheWholePlan) {
  for (const Graph& graph : {testing::residual_network(), testing::vit_block()}) {
    TensorSource source = inputs_for(graph);
    const Options options;
    const Graph prepared = prepare(graph, options);
    const Plan plan = make_executable_plan(prepared, options, {});
    const Calibration calibration = calibrate(prepared, plan, options, source).calibration;
    std::vector<size_t> all(plan.layers.size());
    std::iota(all.begin(), all.end(), size_t{0});
    const PlanPart part = part_of_plan(prepared, plan, calibration, all, PartInputs::kPathOfCodes);
    const std::vector<Tensor> inputs = random_inputs(graph, 9);
    EXPECT_LT(
        relative_difference(outputs_of(insert_qdq(prepared, plan, calibration), inputs),
                            outputs_of(insert_qdq(prepared, part.plan, part.calibration), inputs)),
        1e-5);
  }
}

TEST(PlanPart, OfOneLayerRoundsItsOperandsOnly) {
  const Graph graph = testing::residual_network();
  TensorSource source = inputs_for(graph);
  const Options options;
  const Graph prepared = prepare(graph, options);
  const Plan plan = make_executable_plan(prepared, options, {});
  const Calibration calibration = calibrate(prepared, plan, options, source).calibration;
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    const size_t chosen[] = {i};
    const PlanPart own = part_of_plan(prepared, plan, calibration, chosen);
    EXPECT_EQ(own.plan.grids.size(), 1U);
    const PlanPart path =
        part_of_plan(prepared, plan, calibration, chosen, PartInputs::kPathOfCodes);
    EXPECT_GE(path.plan.grids.size(), own.plan.grids.size());
    EXPECT_EQ(path.plan.layers.size(), 1U);
  }
}

}  // namespace
}  // namespace ounce::quantize
