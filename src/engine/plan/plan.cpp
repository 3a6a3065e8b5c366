#include "engine/plan/plan.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>

#include "engine/isa.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/rewriter.h"
#include "engine/plan/memory.h"
#include "engine/plan/reference_step.h"
#include "engine/reference/reference.h"
#include "graph/error.h"
#include "graph/operator.h"

namespace ounce::engine {
namespace {

Shape shape_of(const Graph& graph, ValueId id) {
  return *concrete(*graph.value(id).shape);
}

bool has_concrete_shape(const Graph& graph, ValueId id) {
  return graph.value(id).shape && concrete(*graph.value(id).shape).has_value();
}

/// Output shares the memory of input 0: the same elements in the same order.
bool is_view(const Graph& graph, const Node& node) {
  static constexpr std::string_view kViews[] = {"Reshape",   "Flatten",  "Squeeze",
                                                "Unsqueeze", "Identity", "Dropout"};
  const bool one_output = std::all_of(node.outputs.begin() + 1, node.outputs.end(),
                                      [](ValueId id) { return id == kNoValue; });
  if (graph.value(node.input(0)).is_constant() || !one_output) return false;
  if (std::find(std::begin(kViews), std::end(kViews), node.op) != std::end(kViews)) return true;
  if (node.op != "Transpose") return false;
  // A transpose that only moves axes of length 1 moves nothing.
  const Shape shape = shape_of(graph, node.input(0));
  int64_t previous = -1;
  for (const int64_t axis : node.attributes.get_ints("perm")) {
    if (shape[static_cast<size_t>(axis)] == 1) continue;
    if (axis < previous) return false;
    previous = axis;
  }
  return node.attributes.has("perm");
}

}  // namespace

Plan::Plan(const Graph& graph, std::span<const Shape> input_shapes, const SessionOptions& options,
           ThreadPool& pool, KernelHints& hints)
    : input_shapes_(input_shapes.begin(), input_shapes.end()),
      options_(options),
      pool_(pool),
      hints_(hints) {
  Graph specialised = graph;
  InferOptions inference;
  inference.evaluator = &reference::evaluator();
  inference.reset = true;
  specialize_inputs(specialised, input_shapes, inference);
  specialised.remove_dead();
  split_tail(std::move(specialised));
  lower(lowered_);
  make_steps();
  overwrite_last_uses();
  place_values();
  attach_taps();
}

void Plan::split_tail(Graph graph) {
  std::vector<bool> dynamic_value(graph.values.size(), false);
  std::vector<bool> dynamic_node(graph.nodes.size(), false);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    bool dynamic = false;
    for (const ValueId id : node.inputs) {
      if (id != kNoValue && dynamic_value[static_cast<size_t>(id)]) dynamic = true;
    }
    for (const ValueId id : node.outputs) {
      if (id != kNoValue && !has_concrete_shape(graph, id)) dynamic = true;
    }
    dynamic_node[n] = dynamic;
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) dynamic_value[static_cast<size_t>(id)] = dynamic;
    }
  }
  lowered_ = graph;
  lowered_.outputs.clear();
  tail_ = graph;
  tail_.inputs.clear();
  tail_.outputs.clear();
  const auto split = [&](Graph& part, bool dynamic) {
    std::vector<Node> kept;
    for (size_t n = 0; n < part.nodes.size(); ++n) {
      if (dynamic_node[n] == dynamic) kept.push_back(std::move(part.nodes[n]));
    }
    part.nodes = std::move(kept);
  };
  split(lowered_, false);
  split(tail_, true);
  for (const ValueId id : graph.outputs) {
    const bool dynamic = dynamic_value[static_cast<size_t>(id)];
    (dynamic ? tail_ : lowered_).outputs.push_back(id);
    const std::string& name = graph.value(id).name;
    if (is_tap(name)) continue;
    output_names_.push_back(name);
    tail_outputs_.push_back(dynamic ? static_cast<int>(tail_.outputs.size()) - 1 : -1);
  }
  for (const Node& node : tail_.nodes) {
    for (const ValueId id : node.inputs) {
      if (id == kNoValue || dynamic_value[static_cast<size_t>(id)] ||
          graph.value(id).is_constant() ||
          std::find(tail_.inputs.begin(), tail_.inputs.end(), id) != tail_.inputs.end()) {
        continue;
      }
      tail_.inputs.push_back(id);
      lowered_.outputs.push_back(id);
    }
  }
  // Lowering renumbers values: names find them again.
  for (const ValueId id : tail_.inputs) tail_feed_names_.push_back(graph.value(id).name);
  tail_.remove_dead();
}

bool Plan::is_tap(const std::string& name) const {
  return std::find(options_.taps.begin(), options_.taps.end(), name) != options_.taps.end();
}

std::unique_ptr<Step> Plan::make_one(const Node& node) {
  const StepRequest request{lowered_, node, pool_.size(), pool_, hints_, options_.winograd};
  if (const StepFactory factory = find_step_factory(node.op)) {
    if (std::unique_ptr<Step> step = factory(request)) return step;
  }
  return make_reference_step(request);
}

void Plan::make_steps() {
  root_.resize(lowered_.values.size());
  for (size_t i = 0; i < root_.size(); ++i) root_[i] = static_cast<ValueId>(i);
  for (size_t n = 0; n < lowered_.nodes.size(); ++n) {
    const Node& node = lowered_.nodes[n];
    if (is_view(lowered_, node)) {
      root_[static_cast<size_t>(node.output(0))] = root_[static_cast<size_t>(node.input(0))];
      continue;
    }
    PlannedStep planned;
    planned.step = make_one(node);
    planned.node = n;
    steps_.push_back(std::move(planned));
  }
}

/// Where a step reads a value for the last time, its output may take that value's memory: what is
/// read and what is written then share the cache.
void Plan::overwrite_last_uses() {
  if (!options_.taps.empty()) return;  // a tap finds its value by the memory that holds it
  const auto root = [&](ValueId id) { return static_cast<size_t>(root_[static_cast<size_t>(id)]); };
  std::vector<size_t> last(lowered_.values.size(), 0);
  for (size_t s = 0; s < steps_.size(); ++s) {
    for (const ValueId id : lowered_.nodes[steps_[s].node].inputs) {
      if (id != kNoValue) last[root(id)] = s;
    }
  }
  for (const ValueId id : lowered_.inputs) last[root(id)] = steps_.size();
  for (const ValueId id : lowered_.outputs) last[root(id)] = steps_.size();
  const auto bytes = [&](ValueId id) {
    return byte_size(lowered_.value(id).dtype, element_count(shape_of(lowered_, id)));
  };
  for (size_t s = 0; s < steps_.size(); ++s) {
    const ValueId from = steps_[s].step->overwritable();
    if (from == kNoValue || lowered_.value(from).is_constant() || last[root(from)] != s) continue;
    const Node& node = lowered_.nodes[steps_[s].node];
    const ValueId to = node.output(0);
    const auto shares = [&](ValueId id) { return id != kNoValue && root(id) == root(from); };
    if (bytes(to) != bytes(from) ||
        std::count_if(node.inputs.begin(), node.inputs.end(), shares) > 1)
      continue;
    last[root(from)] = last[root(to)];
    std::replace(root_.begin(), root_.end(), to, root_[static_cast<size_t>(from)]);
  }
}

void Plan::place_values() {
  const auto root = [&](ValueId id) { return static_cast<size_t>(root_[static_cast<size_t>(id)]); };
  std::vector<BufferLifetime> lifetimes(lowered_.values.size());
  std::vector<bool> used(lowered_.values.size(), false);
  const auto touch = [&](ValueId id, int step) {
    if (id == kNoValue || lowered_.value(id).is_constant()) return;
    BufferLifetime& lifetime = lifetimes[root(id)];
    if (!used[root(id)]) {
      lifetime.first = step;
      const Value& value = lowered_.values[root(id)];
      lifetime.bytes = byte_size(value.dtype, element_count(*concrete(*value.shape)));
      used[root(id)] = true;
    }
    lifetime.last = std::max(lifetime.last, step);
  };
  for (const ValueId id : lowered_.inputs) touch(id, -1);
  size_t scratch = 0;
  for (size_t s = 0; s < steps_.size(); ++s) {
    const Node& node = lowered_.nodes[steps_[s].node];
    for (const ValueId id : node.inputs) touch(id, static_cast<int>(s));
    for (const ValueId id : node.outputs) touch(id, static_cast<int>(s));
    scratch = std::max(scratch, steps_[s].step->scratch_bytes());
  }
  const int end = static_cast<int>(steps_.size());
  for (const ValueId id : lowered_.outputs) {
    const bool tap = is_tap(lowered_.value(id).name);
    if (!tap) touch(id, end);
  }
  std::vector<BufferLifetime> buffers;
  std::vector<size_t> owner;
  for (size_t i = 0; i < lifetimes.size(); ++i) {
    if (!used[i]) continue;
    buffers.push_back(lifetimes[i]);
    owner.push_back(i);
  }
  const ArenaLayout layout = plan_arena(buffers);
  arena_.resize(layout.bytes);
  scratch_.resize(scratch);
  slots_.assign(lowered_.values.size(), nullptr);
  for (size_t i = 0; i < buffers.size(); ++i) slots_[owner[i]] = arena_.data() + layout.offsets[i];
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Value& value = lowered_.values[i];
    // Steps never write through the address of a constant.
    slots_[i] = value.is_constant() ? const_cast<std::byte*>(value.constant.raw())
                                    : slots_[static_cast<size_t>(root_[i])];
  }
}

void Plan::attach_taps() {
  std::map<std::string, ValueId> by_name;
  for (const ValueId id : lowered_.outputs) by_name[lowered_.value(id).name] = id;
  for (const std::string& name : output_names_) {
    const auto found = by_name.find(name);
    const bool planned = found != by_name.end();
    outputs_.push_back(planned ? found->second : kNoValue);
    output_shapes_.push_back(planned ? shape_of(lowered_, found->second) : Shape{});
  }
  for (const std::string& name : tail_feed_names_) tail_feeds_.push_back(by_name.at(name));
  for (const std::string& tap : options_.taps) {
    const auto found = by_name.find(tap);
    if (found == by_name.end()) continue;
    const ValueId wanted = root_[static_cast<size_t>(found->second)];
    const bool is_input =
        std::find(lowered_.inputs.begin(), lowered_.inputs.end(), wanted) != lowered_.inputs.end();
    if (is_input || lowered_.value(found->second).is_constant()) {
      early_taps_.push_back(found->second);
      continue;
    }
    for (PlannedStep& planned : steps_) {
      for (const ValueId id : lowered_.nodes[planned.node].outputs) {
        if (id != kNoValue && root_[static_cast<size_t>(id)] == wanted) {
          planned.taps.push_back(found->second);
        }
      }
    }
  }
}

Tensor Plan::window(ValueId id) const {
  const Value& value = lowered_.value(id);
  if (value.is_constant()) return value.constant;
  return Tensor::window(value.dtype, *concrete(*value.shape), slots_[static_cast<size_t>(id)]);
}

void Plan::run_steps(const Session::TapCallback& on_tap) {
  using Clock = std::chrono::steady_clock;
  const Context kernels{pool_, scratch_};
  const RunContext context{slots_.data(), kernels};
  const auto call_taps = [&](const std::vector<ValueId>& taps) {
    if (!on_tap) return;
    for (const ValueId id : taps) on_tap(lowered_.value(id).name, window(id));
  };
  call_taps(early_taps_);
  for (PlannedStep& planned : steps_) {
    if (options_.profile) {
      const auto start = Clock::now();
      planned.step->run(context);
      const std::chrono::duration<double, std::milli> elapsed = Clock::now() - start;
      planned.samples_ms.push_back(elapsed.count());
    } else {
      planned.step->run(context);
    }
    call_taps(planned.taps);
  }
}

void Plan::run_tail(std::span<Tensor> outputs, const Session::TapCallback& on_tap) {
  std::vector<Tensor> feeds;
  for (const ValueId id : tail_feeds_) feeds.push_back(window(id));
  const std::vector<Tensor> results = reference::run(tail_, feeds);
  for (size_t i = 0; on_tap && i < results.size(); ++i) {
    const std::string& name = tail_.value(tail_.outputs[i]).name;
    if (is_tap(name)) on_tap(name, results[i]);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (tail_outputs_[i] < 0) continue;
    // A result may be a view of a feed, whose memory the next run overwrites.
    const Tensor& owned = results[static_cast<size_t>(tail_outputs_[i])];
    Tensor copy(owned.dtype(), owned.shape());
    std::memcpy(copy.mutable_raw(), owned.raw(), owned.bytes());
    outputs[i] = std::move(copy);
  }
}

void Plan::run(std::span<const Tensor> inputs, std::span<Tensor> outputs,
               const Session::TapCallback& on_tap) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::byte* slot = slots_[static_cast<size_t>(lowered_.inputs[i])];
    if (slot != nullptr) std::memcpy(slot, inputs[i].raw(), inputs[i].bytes());
  }
  run_steps(on_tap);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs_[i] == kNoValue) continue;
    const DType dtype = lowered_.value(outputs_[i]).dtype;
    if (!outputs[i].defined() || outputs[i].dtype() != dtype ||
        outputs[i].shape() != output_shapes_[i]) {
      outputs[i] = Tensor(dtype, output_shapes_[i]);
    }
    std::memcpy(outputs[i].mutable_raw(), slots_[static_cast<size_t>(outputs_[i])],
                outputs[i].bytes());
  }
  if (!tail_.nodes.empty()) run_tail(outputs, on_tap);
}

int64_t Plan::moved_bytes(const PlannedStep& planned) const {
  const Node& node = lowered_.nodes[planned.node];
  std::vector<ValueId> values = node.inputs;
  values.insert(values.end(), node.outputs.begin(), node.outputs.end());
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  const int64_t packed = planned.step->weight_bytes();
  int64_t bytes = packed;
  for (const ValueId id : values) {
    if (id == kNoValue || (packed > 0 && lowered_.value(id).is_constant())) continue;
    bytes += static_cast<int64_t>(
        byte_size(lowered_.value(id).dtype, element_count(shape_of(lowered_, id))));
  }
  return bytes;
}

std::vector<StepProfile> Plan::profile() const {
  std::vector<StepProfile> profiles;
  for (const PlannedStep& planned : steps_) {
    const Node& node = lowered_.nodes[planned.node];
    StepProfile profile;
    profile.name = node.name;
    profile.op = node.op;
    profile.kernel =
        std::string(planned.step->kernel()) + " " + std::string(isa_name(current_isa()));
    profile.nodes = fused_nodes(node);
    profile.macs = step_macs(lowered_, node);
    profile.bytes = moved_bytes(planned);
    profile.multiplication = planned.step->multiplication();
    profile.runs = static_cast<int64_t>(planned.samples_ms.size());
    std::vector<double> sorted = planned.samples_ms;
    std::sort(sorted.begin(), sorted.end());
    for (const double sample : sorted) profile.total_ms += sample;
    if (!sorted.empty()) profile.median_ms = sorted[sorted.size() / 2];
    profiles.push_back(std::move(profile));
  }
  return profiles;
}

void Plan::reset_profile() {
  for (PlannedStep& planned : steps_) planned.samples_ms.clear();
}

int64_t Plan::weight_bytes() const {
  int64_t bytes = 0;
  for (const PlannedStep& planned : steps_) bytes += planned.step->weight_bytes();
  return bytes;
}

}  // namespace ounce::engine
