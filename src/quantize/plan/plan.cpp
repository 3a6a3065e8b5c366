#include "quantize/plan/plan.h"

#include <algorithm>
#include <numeric>

#include "graph/error.h"
#include "quantize/plan/planner.h"

namespace ounce::quantize {

Planner::Planner(const Graph& graph, const Options& options, const Exclusions& exclusions)
    : graph_(graph),
      options_(options),
      exclusions_(exclusions),
      index_(graph),
      kinds_(graph.nodes.size()),
      layer_of_(graph.nodes.size(), -1),
      integer_(graph.nodes.size(), false),
      producible_(graph.values.size(), false),
      linear_(graph.values.size(), false),
      bounds_(graph.values.size()),
      demand_(graph.values.size(), Demand::kNone),
      parent_(graph.values.size()) {
  std::iota(parent_.begin(), parent_.end(), ValueId{0});
}

Plan Planner::run() {
  const int count = static_cast<int>(graph_.nodes.size());
  for (int i = 0; i < count; ++i) kinds_[index_of(i)] = kind_of(graph_, index_, i);
  select_layers();
  find_ends();
  if (options_.keep_ends8) widen_ends();
  choose_map_codes();
  for (const LayerPlan& layer : plan_.layers) integer_[index_of(layer.node)] = layer.reads_grid();
  for (const ValueId id : graph_.inputs) producible_[index_of(id)] = true;
  for (int i = 0; i < count; ++i) look_forward(i);
  // Every reader of a value comes after its producer, so one sweep from the end settles all demand.
  for (int i = count - 1; i >= 0; --i) look_back(i);
  collect_grids();
  collect_binarizers();
  if (options_.embeddings8) collect_embeddings();
  note_float_nodes();
  plan_.on_integers = integer_;
  return std::move(plan_);
}

void Planner::keep_float(int node, std::string reason) {
  plan_.kept_float.push_back({at(node).name, at(node).op, std::move(reason)});
}

void Planner::select_layers() {
  for (int i = 0; i < static_cast<int>(graph_.nodes.size()); ++i) {
    const Node& node = at(i);
    if (!is_heavy(node) || node.output(0) == kNoValue ||
        graph_.value(node.output(0)).dtype != DType::f32) {
      continue;
    }
    LayerPlan layer;
    layer.node = i;
    layer.settings = settings_for(options_, node);
    layer.weights = product_weights(graph_, index_, i);
    // A softmax map is never negative: -1, 0, 1 would waste a code of it. Such products get 2 bits.
    if (!layer.weights) layer.settings.ternary_activations = false;
    layer.weight_only = layer.settings.float_activations;
    // A convolution's windows overlap, and have borders that need a zero point: no dynamic grids.
    if (layer.reads_dynamic_grid() && node.op == "Conv") layer.weight_only = true;
    const std::string reason = why_float(i, layer);
    if (!reason.empty()) {
      keep_float(i, reason);
      continue;
    }
    layer_of_[index_of(i)] = static_cast<int>(plan_.layers.size());
    plan_.layers.push_back(std::move(layer));
  }
}

std::string Planner::why_float(int node, const LayerPlan& layer) const {
  if (const auto found = exclusions_.find(at(node).name); found != exclusions_.end()) {
    return found->second;
  }
  std::string reason = why_not_quantizable(graph_, index_, node);
  if (!reason.empty()) return reason;
  if (layer.settings.float_weights) return "asked for by an override";
  if (!layer.weights) {
    if (layer.settings.float_activations) return "asked for by an override";
    if (!options_.quantize_attention) return "products of two activations stay in float";
    if (layer.reads_dynamic_grid()) return "dynamic grids are for products with weights";
  }
  return {};
}

void Planner::find_ends() {
  // What had to stay in float is an end all the same: its neighbours do not become ends for it.
  ends_ = ends_of(graph_, [&](int node) {
    return layer_of_[index_of(node)] >= 0 || (is_heavy(at(node)) && excluded(node));
  });
}

void Planner::widen_ends() {
  for (LayerPlan& layer : plan_.layers) {
    const size_t node = index_of(layer.node);
    if (ends_.first[node] || ends_.last[node]) layer.is_end = widen(layer);
  }
}

/// Whether there was anything to widen.
bool Planner::widen(LayerPlan& layer) const {
  const LayerSettings before = layer.settings;
  LayerSettings& settings = layer.settings;
  if (layer.weights && !is_overridden(options_, at(layer.node), "weights")) {
    settings.weights.bits = kMaxBits;
    settings.weights.ternary = false;
    if (!is_overridden(options_, at(layer.node), "weight-range")) {
      settings.weights.rule = options_.layer.weights.rule;
    }
  }
  if (!layer.weight_only && !is_overridden(options_, at(layer.node), "activations")) {
    settings.activation_bits = kMaxBits;
    settings.ternary_activations = false;
  }
  return settings.weights.bits != before.weights.bits ||
         settings.activation_bits != before.activation_bits;
}

/// The left operand of the second product of attention is a softmax map.
void Planner::choose_map_codes() {
  plan_.softmax = options_.softmax;
  if (options_.softmax == SoftmaxCodes::kUniform) return;
  for (LayerPlan& layer : plan_.layers) {
    const int producer = index_.producer(at(layer.node).input(0));
    if (layer.weights || !layer.reads_grid() || producer < 0 || at(producer).op != "Softmax") {
      continue;
    }
    layer.map_bits = std::min(layer.settings.activation_bits, kMostLogBits);
  }
}

bool Planner::excluded(int node) const {
  return exclusions_.count(at(node).name) != 0;
}

bool Planner::integer_addition(int node) const {
  const ValueId a = at(node).input(0);
  const ValueId b = at(node).input(1);
  if (excluded(node) || !producible_[index_of(a)] || !producible_[index_of(b)]) return false;
  if (kinds_[index_of(node)] == NodeKind::kMul) return true;
  if (graph_.value(a).shape != graph_.value(b).shape) return false;
  return options_.integer_residual_of_linear || (!linear_[index_of(a)] && !linear_[index_of(b)]);
}

void Planner::look_forward(int i) {
  const Node& node = at(i);
  const auto bound = lower_bound_of(graph_, node, bounds_);
  bool producible = false;
  bool linear = false;
  const ValueId data = data_operand(graph_, node);
  switch (kinds_[index_of(i)]) {
    case NodeKind::kProduct:
    case NodeKind::kActivationProduct:
      producible = integer_[index_of(i)];
      linear = node.op != "Conv";
      break;
    case NodeKind::kBias:
    case NodeKind::kClamp:
    case NodeKind::kTable:
    case NodeKind::kMover:
    case NodeKind::kSelector:
    case NodeKind::kAverage:
      producible = producible_[index_of(data)] && !excluded(i);
      linear = linear_[index_of(data)];
      break;
    case NodeKind::kAdd:
    case NodeKind::kMul:
      producible = integer_addition(i);
      break;
    case NodeKind::kConcat:
      producible =
          !excluded(i) && std::any_of(node.inputs.begin(), node.inputs.end(),
                                      [&](ValueId id) { return producible_[index_of(id)]; });
      break;
    case NodeKind::kOther:
      break;
  }
  for (const ValueId id : node.outputs) {
    if (id == kNoValue) continue;
    producible_[index_of(id)] = producible;
    linear_[index_of(id)] = linear;
    bounds_[index_of(id)] = bound;
  }
}

void Planner::want(ValueId value, Demand demand) {
  Demand& current = demand_[index_of(value)];
  current = std::max(current, demand);
}

void Planner::join(ValueId a, ValueId b) {
  a = root(a);
  b = root(b);
  // The smaller id as the root keeps the numbering of grids in order of computation.
  if (a != b) parent_[index_of(std::max(a, b))] = std::min(a, b);
}

ValueId Planner::root(ValueId value) {
  while (parent_[index_of(value)] != value) {
    parent_[index_of(value)] = parent_[index_of(parent_[index_of(value)])];
    value = parent_[index_of(value)];
  }
  return value;
}

void Planner::look_back(int i) {
  const Node& node = at(i);
  if (layer_of_[index_of(i)] >= 0) {
    const LayerPlan& layer = plan_.layers[index_of(layer_of_[index_of(i)])];
    if (!layer.reads_grid()) return;
    if (layer.map_bits == 0) want(node.input(0), Demand::kGrid);
    if (!layer.weights) want(node.input(1), Demand::kGrid);
    return;
  }
  if (pools_a_layer(i)) want(node.output(0), Demand::kGrid);
  const bool asked = std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) {
    return id != kNoValue && demand_[index_of(id)] != Demand::kNone;
  });
  if (asked && !excluded(i)) hand_demand_on(i);
}

void Planner::hand_demand_on(int i) {
  const Node& node = at(i);
  const ValueId data = data_operand(graph_, node);
  switch (kinds_[index_of(i)]) {
    case NodeKind::kBias:
      if (producible_[index_of(data)]) {
        integer_[index_of(i)] = true;
        want(data, Demand::kThrough);
      }
      break;
    case NodeKind::kClamp:
      hand_on_clamp(i, data);
      break;
    case NodeKind::kTable:
      hand_on_table(i, data);
      break;
    case NodeKind::kAverage:
      if (producible_[index_of(data)]) {
        integer_[index_of(i)] = true;
        want(data, Demand::kGrid);
      }
      break;
    case NodeKind::kAdd:
    case NodeKind::kMul:
      hand_on_sum(i);
      break;
    case NodeKind::kMover:
      hand_on_moves(i, data);
      break;
    case NodeKind::kSelector:
      if (producible_[index_of(data)]) hand_on_moves(i, data);
      break;
    case NodeKind::kConcat:
      if (producible_[index_of(node.output(0))]) {
        for (const ValueId id : node.inputs) hand_on_moves(i, id);
      }
      break;
    default:
      break;
  }
}

/// A max pool that reads nothing but what a quantized layer makes asks for codes itself: the layer
/// then writes, and the pool reads, a quarter of the bytes.
bool Planner::pools_a_layer(int i) const {
  if (at(i).op != "MaxPool" || kinds_[index_of(i)] != NodeKind::kSelector || excluded(i)) {
    return false;
  }
  ValueId data = at(i).input(0);
  int producer = index_.producer(data);
  if (producer >= 0 && kinds_[index_of(producer)] == NodeKind::kClamp && !excluded(producer) &&
      index_.has_single_use(data)) {
    data = data_operand(graph_, at(producer));
    producer = index_.producer(data);
  }
  return producer >= 0 && layer_of_[index_of(producer)] >= 0 && integer_[index_of(producer)] &&
         index_.has_single_use(data);
}

/// A table of a table is one table.
bool Planner::follows_table(ValueId data) const {
  const int producer = index_.producer(data);
  return producer >= 0 && kinds_[index_of(producer)] == NodeKind::kTable && !excluded(producer) &&
         index_.has_single_use(data);
}

void Planner::hand_on_table(int i, ValueId data) {
  if (!producible_[index_of(data)] || !options_.quantize_before_tables) return;
  integer_[index_of(i)] = true;
  want(data, follows_table(data) ? Demand::kThrough : Demand::kGrid);
}

/// A clamp directly behind integer work is the range of its codes; elsewhere it is a table.
void Planner::hand_on_clamp(int i, ValueId data) {
  if (!producible_[index_of(data)]) return;
  const int producer = index_.producer(data);
  const bool absorbed =
      producer >= 0 && index_.has_single_use(data) &&
      (layer_of_[index_of(producer)] >= 0 || kinds_[index_of(producer)] == NodeKind::kBias ||
       kinds_[index_of(producer)] == NodeKind::kAdd);
  if (!absorbed) return hand_on_table(i, data);
  integer_[index_of(i)] = true;
  want(data, Demand::kThrough);
}

void Planner::hand_on_sum(int i) {
  const Node& node = at(i);
  if (!producible_[index_of(node.output(0))]) return;
  integer_[index_of(i)] = true;
  bool accumulator_taken =
      options_.residual != ResidualStyle::kAccumulator || kinds_[index_of(i)] == NodeKind::kMul;
  for (const ValueId id : node.inputs) {
    const int producer = index_.producer(id);
    const bool product =
        producer >= 0 && index_.has_single_use(id) && layer_of_[index_of(producer)] >= 0;
    if (product && !accumulator_taken) {
      accumulator_taken = true;
      want(id, Demand::kThrough);
    } else {
      want(id, Demand::kGrid);
    }
  }
}

/// Codes pass unchanged, so both sides share a grid.
void Planner::hand_on_moves(int i, ValueId data) {
  integer_[index_of(i)] = true;
  bool joined = false;
  for (const ValueId id : at(i).outputs) {
    if (id == kNoValue || demand_[index_of(id)] == Demand::kNone) continue;
    join(data, id);
    joined = true;
  }
  if (joined) want(data, Demand::kGrid);
}

bool Planner::is_moved(ValueId value) {
  const int producer = index_.producer(value);
  if (producer < 0 || !integer_[index_of(producer)]) return false;
  const NodeKind kind = kinds_[index_of(producer)];
  if (kind != NodeKind::kMover && kind != NodeKind::kSelector && kind != NodeKind::kConcat) {
    return false;
  }
  const ValueId input = at(producer).input(0);
  return root(input) == root(value);
}

void Planner::collect_grids() {
  plan_.grid_of.assign(graph_.values.size(), -1);
  std::vector<int> grid_of_root(graph_.values.size(), -1);
  std::vector<int> requested(graph_.values.size(), 0);
  const auto grid_at = [&](ValueId id) {
    int& grid = grid_of_root[index_of(root(id))];
    if (grid < 0) {
      grid = static_cast<int>(plan_.grids.size());
      plan_.grids.emplace_back();
      plan_.grids.back().bits = 0;
    }
    return grid;
  };
  const auto see = [&](ValueId id) {
    if (demand_[index_of(id)] != Demand::kGrid) return;
    const int grid = grid_at(id);
    plan_.grid_of[index_of(id)] = grid;
    GridPlan& plan = plan_.grids[index_of(grid)];
    plan.values.push_back(id);
    if (!is_moved(id)) plan.sources.push_back(id);
  };
  for (const ValueId id : graph_.inputs) see(id);
  for (const Node& node : graph_.nodes) {
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) see(id);
    }
  }
  for (const LayerPlan& layer : plan_.layers) {
    if (!layer.reads_grid()) continue;
    if (layer.map_bits == 0) set_by_layer(layer, at(layer.node).input(0));
    if (!layer.weights) set_by_layer(layer, at(layer.node).input(1));
  }
  for (GridPlan& grid : plan_.grids) finish_grid(grid);
}

void Planner::collect_binarizers() {
  std::vector<bool> seen(graph_.values.size(), false);
  const auto see = [&](ValueId id) {
    if (seen[index_of(id)]) return;
    seen[index_of(id)] = true;
    const auto& bound = bounds_[index_of(id)];
    plan_.binarizers.push_back({id, bound && bound->value >= 0.0F});
  };
  for (const LayerPlan& layer : plan_.layers) {
    if (!layer.reads_signs()) continue;
    see(at(layer.node).input(0));
    if (!layer.weights) see(at(layer.node).input(1));
  }
}

void Planner::collect_embeddings() {
  // Less than this is not worth a node.
  constexpr int64_t kLeastElements = 4096;
  std::vector<bool> seen(graph_.values.size(), false);
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (kinds_[i] != NodeKind::kOther || (node.op != "Add" && node.op != "Gather")) continue;
    for (const size_t operand : {size_t{0}, size_t{1}}) {
      const ValueId id = node.input(operand);
      const Tensor* constant = graph_.constant(id);
      if (constant == nullptr || constant->dtype() != DType::f32 || constant->rank() < 2 ||
          constant->size() < kLeastElements || seen[index_of(id)]) {
        continue;
      }
      seen[index_of(id)] = true;
      plan_.embeddings.push_back(id);
    }
  }
}

void Planner::set_by_layer(const LayerPlan& layer, ValueId input) {
  GridPlan& grid = plan_.grids[index_of(plan_.grid_of[index_of(input)])];
  if (grid.bits == 0) {
    grid.range = layer.settings.range;
    grid.percentile = layer.settings.percentile;
    grid.ternary = true;  // unless one of the layers does not ask for it
  }
  grid.ternary = grid.ternary && layer.settings.ternary_activations;
  grid.bits = std::max(grid.bits, layer.settings.activation_bits);
}

void Planner::finish_grid(GridPlan& grid) {
  if (grid.bits == 0) {
    // No layer reads it: operand of an addition, or index of a table.
    grid.bits = kMaxBits;
    grid.range = options_.layer.range;
    grid.percentile = options_.layer.percentile;
    const auto readers = index_.consumers(grid.values.front());
    const bool only_tables =
        grid.values.size() == 1 && !readers.empty() &&
        std::all_of(readers.begin(), readers.end(), [&](int reader) {
          return kinds_[index_of(reader)] == NodeKind::kTable && at(reader).op != "Identity";
        });
    if (only_tables) {
      grid.table = readers.front();
      grid.bits = options_.table_input_bits;
    }
  }
  std::optional<LowerBound> bound;
  for (const ValueId id : grid.sources) {
    const auto& other = bounds_[index_of(id)];
    if (!other) {
      bound.reset();
      break;
    }
    if (!bound || other->value < bound->value) bound = other;
  }
  grid.lower_bound = bound;
}

/// Whether a node of this kind is where what is before it is.
bool Planner::rides_along(NodeKind kind) {
  return kind == NodeKind::kBias || kind == NodeKind::kClamp || kind == NodeKind::kMover ||
         kind == NodeKind::kSelector;
}

std::string Planner::default_reason(int i) const {
  const Node& node = at(i);
  if (node.op == "Softmax" || node.op == "LogSoftmax") return "softmax works on floats";
  if (node.op.find("Normalization") != std::string::npos) return "normalisations work on floats";
  if (ends_.decodes(i) && data_operand(graph_, node) != kNoValue &&
      !rides_along(kinds_[index_of(i)])) {
    return "behind the last layers: outputs are decoded in float";
  }
  switch (kinds_[index_of(i)]) {
    case NodeKind::kAdd:
      for (const ValueId id : node.inputs) {
        if (linear_[index_of(id)]) return "residuals of linear layers keep their precision";
      }
      return "no quantized layer reads it, or an operand is made in float";
    case NodeKind::kMul:
    case NodeKind::kTable:
    case NodeKind::kConcat:
    case NodeKind::kAverage:
      return "no quantized layer reads it, or an operand is made in float";
    case NodeKind::kOther:
      return "there is no integer form of " + node.op;
    default:
      return {};  // rides along with what is before it
  }
}

void Planner::note_float_nodes() {
  for (int i = 0; i < static_cast<int>(graph_.nodes.size()); ++i) {
    const Node& node = at(i);
    if (is_heavy(node) || integer_[index_of(i)] || node.output(0) == kNoValue ||
        graph_.value(node.output(0)).dtype != DType::f32 ||
        graph_.value(node.output(0)).is_constant()) {
      continue;
    }
    const auto found = exclusions_.find(node.name);
    std::string reason = found != exclusions_.end() ? found->second : default_reason(i);
    if (!reason.empty()) keep_float(i, std::move(reason));
  }
}

Plan make_plan(const Graph& graph, const Options& options, const Exclusions& exclusions) {
  return Planner(graph, options, exclusions).run();
}

}  // namespace ounce::quantize
