// Whatever a file says, shape inference returns or throws `Error`: no crash, no overflow (run under
// the sanitizers), no other exception.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "graph/error.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"
#include "tests/graph/build_graph.h"

namespace ounce {
namespace {

constexpr uint32_t kSeed = 20240607;
constexpr int kGraphsPerOperator = 400;

class HostileGraphs {
 public:
  explicit HostileGraphs(uint32_t seed) : random_(seed) {}

  Graph make(const OperatorSchema& schema) {
    Graph graph;
    const int most = std::min(schema.max_inputs, schema.min_inputs + 4);
    const auto count = between(schema.min_inputs, most);
    std::vector<ValueId> inputs;
    for (int64_t i = 0; i < count; ++i) inputs.push_back(operand(graph, i >= schema.min_inputs));
    const auto outputs = between(std::max(schema.min_outputs, 1),
                                 std::min(schema.max_outputs, schema.min_outputs + 2));
    const ValueId first = graph.add_node(schema.name, inputs, attributes(), "node",
                                         static_cast<size_t>(std::max<int64_t>(outputs, 1)));
    graph.outputs = {first};
    return graph;
  }

 private:
  int64_t between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, std::max(low, high))(random_);
  }
  bool chance(int percent) { return between(1, 100) <= percent; }

  int64_t number() {
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
    constexpr int64_t kNumbers[] = {0,  1,  2,  3,  4,       7,        -1,    -2,
                                    -3, -5, 16, 64, 1 << 20, 1L << 40, kMost, -kMost - 1};
    return kNumbers[chance(80) ? between(0, 8) : between(0, 15)];
  }

  std::vector<int64_t> numbers(int64_t most = 6) {
    std::vector<int64_t> result(static_cast<size_t>(between(0, most)));
    for (int64_t& n : result) n = number();
    return result;
  }

  DType dtype() {
    constexpr DType kTypes[] = {DType::f32, DType::i64,     DType::i32,
                                DType::u8,  DType::boolean, DType::f16};
    return kTypes[between(0, 5)];
  }

  ValueId operand(Graph& graph, bool optional) {
    if (optional && chance(15)) return kNoValue;
    if (chance(50)) return graph.add_constant("c", constant());
    std::optional<SymbolicShape> shape;
    if (!chance(10)) {
      shape.emplace();
      for (const int64_t n : numbers(5)) {
        shape->push_back(n >= 0 ? Dim(n) : n == -1 ? Dim("batch") : Dim());
      }
    }
    const ValueId id = graph.add_value("x", dtype(), shape);
    graph.inputs.push_back(id);
    return id;
  }

  Tensor constant() {
    if (chance(70)) {
      Tensor ints = Tensor::of_i64(numbers());
      if (ints.size() == 1 && chance(50)) return ints.reshaped({});
      return ints;
    }
    std::vector<float> values;
    for (const int64_t n : numbers()) values.push_back(chance(10) ? NAN : static_cast<float>(n));
    const auto count = static_cast<int64_t>(values.size());
    return Tensor::of(values, {count});
  }

  AttributeMap attributes() {
    constexpr const char* kInts[] = {"axis",      "keepdims",   "group",       "blocksize",
                                     "transA",    "num_groups", "num_outputs", "batch_dims",
                                     "to",        "allowzero",  "block_size",  "output_dtype",
                                     "ceil_mode", "start",      "end",         "size"};
    constexpr const char* kLists[] = {"perm",         "pads", "strides",      "dilations",
                                      "kernel_shape", "axes", "output_shape", "output_padding"};
    constexpr const char* kTexts[] = {"auto_pad", "mode", "equation", "keep_aspect_ratio_policy",
                                      "coordinate_transformation_mode"};
    constexpr const char* kWords[] = {
        "SAME_UPPER", "reflect", "ij,jk->ik", "not_larger", "tf_crop_and_resize", "...i->i",
        "edge",       ",->",     ""};
    AttributeMap map;
    for (const char* name : kInts) {
      if (chance(40)) map.set(name, number());
    }
    for (const char* name : kLists) {
      if (chance(40)) map.set(name, numbers());
    }
    for (const char* name : kTexts) {
      if (chance(40)) map.set(name, std::string(kWords[between(0, 8)]));
    }
    if (chance(5)) map.set("axis", std::string("wrong type"));
    return map;
  }

  std::mt19937 random_;
};

TEST(HostileGraphs, inference_and_cost_return_or_throw_error) {
  RecordProperty("seed", static_cast<int>(kSeed));
  HostileGraphs hostile(kSeed);
  int accepted = 0;
  for (const OperatorSchema* schema : all_operators()) {
    for (int i = 0; i < kGraphsPerOperator; ++i) {
      Graph graph = hostile.make(*schema);
      try {
        infer_shapes(graph);
        ++accepted;
        cost_of(graph, graph.nodes[0]);
      } catch (const Error&) {
        // what hostile input deserves
      } catch (const std::exception& error) {
        ADD_FAILURE() << schema->name << " threw " << error.what() << " (seed " << kSeed << ")";
      }
    }
  }
  EXPECT_GT(accepted, 1000) << "the generator makes nothing that passes";
}

TEST(HostileGraphs, passes_return_or_throw_error_on_unchecked_graphs) {
  HostileGraphs hostile(kSeed + 1);
  for (const OperatorSchema* schema : all_operators()) {
    for (int i = 0; i < kGraphsPerOperator / 10; ++i) {
      Graph graph = hostile.make(*schema);
      try {
        for (auto* pass : {eliminate_no_ops, merge_common_subexpressions, fold_batch_norm,
                           lower_batch_norm, fuse_layer_norm, fuse_rms_norm, fuse_gelu,
                           fuse_hard_swish, fuse_silu, fuse_attention, remove_dead_nodes}) {
          pass(graph);
        }
        expand_fused(graph, 11);
        graph.validate();
      } catch (const Error&) {
      } catch (const std::exception& error) {
        ADD_FAILURE() << schema->name << " threw " << error.what() << " (seed " << kSeed << ")";
      }
    }
  }
}

}  // namespace
}  // namespace ounce
