#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/plan/step.h"
#include "engine/session.h"

namespace ounce::engine {

/// A graph specialised to concrete input shapes: prepared steps, one arena, fixed addresses.
///
/// Nodes whose output shapes depend on data (NonMaxSuppression, NonZero, ...) and everything behind
/// them form the tail, which the reference operators run after the steps.
class Plan {
 public:
  /// `graph`: optimised; the taps of `options`, which must outlive the plan, are among its outputs,
  /// handed to the tap callback, and no results.
  Plan(const Graph& graph, std::span<const Shape> input_shapes, const SessionOptions& options,
       ThreadPool& pool, KernelHints& hints);

  const std::vector<Shape>& input_shapes() const { return input_shapes_; }

  /// Runs the steps and the tail; fills `outputs` (without taps), allocating undefined ones and
  /// ones of other shape.
  void run(std::span<const Tensor> inputs, std::span<Tensor> outputs,
           const Session::TapCallback& on_tap);

  std::vector<StepProfile> profile() const;
  void reset_profile();
  int64_t arena_bytes() const { return static_cast<int64_t>(arena_.size()); }
  int64_t weight_bytes() const;

 private:
  struct PlannedStep {
    std::unique_ptr<Step> step;
    size_t node = 0;            // index in lowered_.nodes
    std::vector<ValueId> taps;  // complete after this step
    std::vector<double> samples_ms;
  };

  void split_tail(Graph graph);
  bool is_tap(const std::string& name) const;
  void make_steps();
  std::unique_ptr<Step> make_one(const Node& node);
  void overwrite_last_uses();
  void place_values();
  void attach_taps();
  void run_steps(const Session::TapCallback& on_tap);
  void run_tail(std::span<Tensor> outputs, const Session::TapCallback& on_tap);
  Tensor window(ValueId id) const;
  int64_t moved_bytes(const PlannedStep& planned) const;

  std::vector<Shape> input_shapes_;
  Graph lowered_;
  Graph tail_;  // empty when every shape is known
  std::vector<std::string> tail_feed_names_;
  std::vector<ValueId> tail_feeds_;  // lowered_ values that tail_'s inputs read
  std::vector<std::string> output_names_;
  std::vector<ValueId> outputs_;  // in lowered_, or kNoValue: made by the tail
  std::vector<Shape> output_shapes_;
  std::vector<int> tail_outputs_;    // position among tail_'s outputs, or -1
  std::vector<ValueId> early_taps_;  // tapped inputs, and values that turned out constant
  std::vector<PlannedStep> steps_;
  std::vector<ValueId> root_;  // value whose memory a value shares (itself when it owns some)
  std::vector<std::byte*> slots_;
  AlignedVector<std::byte> arena_;
  std::vector<std::byte> scratch_;
  const SessionOptions& options_;
  ThreadPool& pool_;
  KernelHints& hints_;
};

}  // namespace ounce::engine
