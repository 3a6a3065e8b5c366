#include "quantize/transforms/residual_stream.h"

#include <algorithm>
#include <set>

#include "graph/ops/shape_rules.h"
#include "quantize/node_kind.h"
#include "quantize/transforms/channel_axis.h"

namespace ounce::quantize {
namespace {

bool is_norm(const Node& node) {
  return node.op == "LayerNormalization" || node.op == "RMSNorm";
}

/// Walks from one value to all that are joined with it.
class StreamWalk {
 public:
  StreamWalk(const Graph& graph, const GraphIndex& index, const std::vector<NormFold>& folds)
      : graph_(graph), index_(index), folds_(folds) {}

  ResidualStream from(ValueId start) {
    stream_.width = extent_of(graph_, start, rank_of(graph_, start) - 1);
    reach(start, rank_of(graph_, start) - 1);
    while (!open_.empty() && stream_.obstacle.empty()) {
      const auto [value, axis] = open_.back();
      open_.pop_back();
      stream_.values.push_back(value);
      if (index_.is_output(value)) stop("it is an output of the model");
      look_back(value, axis);
      for (const int reader : index_.consumers(value)) look_forward(reader, value, axis);
    }
    sort();
    return std::move(stream_);
  }

  const std::set<std::pair<ValueId, int64_t>>& seen() const { return seen_; }

 private:
  const Node& at(int node) const { return graph_.nodes[static_cast<size_t>(node)]; }

  void stop(std::string why) {
    if (stream_.obstacle.empty()) stream_.obstacle = std::move(why);
  }
  void stop_at(const Node& node, const char* what) {
    stop(std::string(what) + " '" + node.name + "' (" + node.op + ")");
  }

  void reach(ValueId value, int64_t axis) {
    if (extent_of(graph_, value, axis) != stream_.width) {
      return stop("'" + graph_.value(value).name + "' has other channels");
    }
    if (seen_.emplace(value, axis).second) open_.emplace_back(value, axis);
  }

  /// An operand of a node: a value that belongs to the stream, or a constant that is turned with
  /// it. One that is alike in all channels stays as it is: rotations keep the mean.
  void join_operand(int node, size_t input, int64_t axis) {
    const ValueId id = at(node).input(input);
    if (!graph_.value(id).is_constant()) return reach(id, axis);
    if (axis < 0 || extent_of(graph_, id, axis) == 1) return;
    if (extent_of(graph_, id, axis) != stream_.width) return stop_at(at(node), "it is joined by");
    const ResidualStream::Constant constant{node, input, axis};
    if (std::find(stream_.constants.begin(), stream_.constants.end(), constant) ==
        stream_.constants.end()) {
      stream_.constants.push_back(constant);
    }
  }

  /// Both operands of an addition, aligned at the last axis; all of a concatenation.
  void join_operands(int node, int64_t axis) {
    const int64_t rank = rank_of(graph_, at(node).output(0));
    for (size_t i = 0; i < at(node).inputs.size(); ++i) {
      const int64_t operand_rank = rank_of(graph_, at(node).input(i));
      if (operand_rank < 0) return stop_at(at(node), "an operand of unknown rank is read by");
      join_operand(node, i, axis - (rank - operand_rank));
    }
  }

  static bool joins(const Node& node) { return node.op == "Add" || node.op == "Concat"; }
  bool joins_along(const Node& node, int64_t axis) const {
    return node.op == "Add" || normalize_axis(node.attributes.get_int("axis", 0),
                                              rank_of(graph_, node.output(0))) != axis;
  }

  void look_back(ValueId value, int64_t axis) {
    const int producer = index_.producer(value);
    if (producer < 0) return stop("it is an input of the model");
    const Node& node = at(producer);
    if (const auto product = product_weights(graph_, index_, producer)) {
      const int64_t rank = rank_of(graph_, value);
      const bool fits = axis == (node.op == "Conv" ? 1 : rank - 1) && product->groups == 1;
      if (!fits) return stop_at(node, "its channels are not those of");
      stream_.writers.push_back(producer);
    } else if (joins(node) && joins_along(node, axis)) {
      join_operands(producer, axis);
    } else if (const auto before = axis_before(graph_, node, axis)) {
      join_operand(producer, 0, *before);
    } else {
      stop_at(node, "it is written by");
    }
  }

  void look_forward(int reader, ValueId value, int64_t axis) {
    const Node& node = at(reader);
    if (node.op == "Shape" || node.op == "Size") return;
    if (is_norm(node)) return read_by_norm(reader, value, axis);
    if (const auto product = product_weights(graph_, index_, reader)) {
      const int64_t rank = rank_of(graph_, value);
      const bool fits = node.input(0) == value && product->groups == 1 &&
                        axis == (node.op == "Conv" ? 1 : rank - 1);
      if (!fits) return stop_at(node, "its channels are not those of");
      stream_.readers.push_back(reader);
    } else if (joins(node)) {
      const int64_t out = axis + rank_of(graph_, node.output(0)) - rank_of(graph_, value);
      if (!joins_along(node, out)) return stop_at(node, "its channels are joined by");
      reach(node.output(0), out);
    } else if (const auto behind = axis_behind(graph_, node, axis);
               behind && node.input(0) == value) {
      for (const ValueId output : node.outputs) {
        if (output != kNoValue) reach(output, *behind);
      }
    } else {
      stop_at(node, "it is read by");
    }
  }

  void read_by_norm(int reader, ValueId value, int64_t axis) {
    const auto fold = std::find_if(folds_.begin(), folds_.end(),
                                   [&](const NormFold& one) { return one.norm == reader; });
    if (fold == folds_.end() || axis != rank_of(graph_, value) - 1) {
      return stop_at(at(reader), "not only linear layers read what is made by");
    }
    stream_.norms.push_back(*fold);
  }

  void sort() {
    for (auto* nodes : {&stream_.readers, &stream_.writers}) {
      std::sort(nodes->begin(), nodes->end());
      nodes->erase(std::unique(nodes->begin(), nodes->end()), nodes->end());
    }
    std::sort(stream_.norms.begin(), stream_.norms.end(),
              [](const NormFold& a, const NormFold& b) { return a.norm < b.norm; });
    std::sort(stream_.values.begin(), stream_.values.end());
    stream_.values.erase(std::unique(stream_.values.begin(), stream_.values.end()),
                         stream_.values.end());
  }

  const Graph& graph_;
  const GraphIndex& index_;
  const std::vector<NormFold>& folds_;
  ResidualStream stream_;
  std::vector<std::pair<ValueId, int64_t>> open_;
  std::set<std::pair<ValueId, int64_t>> seen_;
};

}  // namespace

std::vector<ResidualStream> residual_streams(const Graph& graph) {
  const GraphIndex index(graph);
  const std::vector<NormFold> folds = norm_folds(graph);
  std::vector<ResidualStream> streams;
  std::set<ValueId> seen;
  for (const Node& node : graph.nodes) {
    if (!is_norm(node)) continue;
    const ValueId value = node.input(0);
    if (rank_of(graph, value) < 1 || seen.count(value) != 0) continue;
    StreamWalk walk(graph, index, folds);
    streams.push_back(walk.from(value));
    for (const auto& one : walk.seen()) seen.insert(one.first);
  }
  return streams;
}

}  // namespace ounce::quantize
