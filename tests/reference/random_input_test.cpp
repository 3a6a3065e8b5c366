#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "graph/error.h"
#include "tests/reference/evaluate_node.h"

namespace ounce::testing {
namespace {

/// Draws nodes and operands that are mostly wrong, now and then right.
class Mischief {
 public:
  explicit Mischief(uint32_t seed) : random_(seed) {}

  size_t below(size_t count) { return random_() % count; }

  template <class T>
  const T& one_of(const std::vector<T>& choices) {
    return choices[below(choices.size())];
  }

  int64_t integer() {
    static const std::vector<int64_t> kNumbers = {0,
                                                  1,
                                                  1,
                                                  2,
                                                  2,
                                                  3,
                                                  4,
                                                  5,
                                                  -1,
                                                  -1,
                                                  -2,
                                                  -3,
                                                  int64_t{1} << 60,
                                                  std::numeric_limits<int64_t>::min(),
                                                  std::numeric_limits<int64_t>::max()};
    return one_of(kNumbers);
  }

  std::vector<int64_t> integers(size_t most) {
    std::vector<int64_t> values(below(most + 1));
    for (int64_t& value : values) value = integer();
    return values;
  }

  Tensor tensor() {
    if (below(8) == 0) return Tensor();
    if (below(3) == 0) return Tensor::of_i64(integers(5));
    static const std::vector<DType> kTypes = {DType::f32, DType::f32, DType::f32,     DType::f32,
                                              DType::f16, DType::f64, DType::i32,     DType::i8,
                                              DType::u8,  DType::u16, DType::boolean, DType::i4,
                                              DType::u4,  DType::u1,  DType::bf16};
    Shape shape(below(6));
    for (int64_t& dim : shape) dim = static_cast<int64_t>(below(8) == 0 ? 0 : below(4) + 1);
    Tensor values(DType::f32, shape);
    for (float& value : values.mutable_data<float>()) {
      static const std::vector<float> kValues = {0, 1, 2, 0.5F, -1, -2.5F, 1e30F, NAN, -INFINITY};
      value = one_of(kValues);
    }
    return cast(values, one_of(kTypes));
  }

  AttributeMap attributes() {
    static const std::vector<const char*> kIntegers = {"axis",
                                                       "keepdims",
                                                       "group",
                                                       "ceil_mode",
                                                       "count_include_pad",
                                                       "blocksize",
                                                       "to",
                                                       "batch_dims",
                                                       "k",
                                                       "num_groups",
                                                       "block_size",
                                                       "transA",
                                                       "largest",
                                                       "num_outputs",
                                                       "size",
                                                       "start",
                                                       "end",
                                                       "upper",
                                                       "allowzero",
                                                       "exclusive",
                                                       "p",
                                                       "antialias",
                                                       "exclude_outside",
                                                       "output_dtype",
                                                       "noop_with_empty_axes",
                                                       "interleaved",
                                                       "storage_order",
                                                       "align_corners"};
    static const std::vector<const char*> kLists = {"axes",           "kernel_shape", "strides",
                                                    "pads",           "dilations",    "perm",
                                                    "output_padding", "output_shape"};
    static const std::vector<std::string> kWords = {
        "linear", "cubic",     "nearest", "reflect", "edge", "wrap",          "SAME_UPPER", "VALID",
        "add",    "ij,jk->ik", "...i->i", "ii",      "tanh", "align_corners", "border",     "CRD"};
    static const std::vector<const char*> kNames = {
        "mode",        "auto_pad",     "reduction", "equation",
        "approximate", "padding_mode", "direction", "coordinate_transformation_mode"};
    AttributeMap map;
    for (size_t n = below(4); n > 0; --n) map.set(one_of(kIntegers), integer());
    for (size_t n = below(3); n > 0; --n) map.set(one_of(kLists), integers(4));
    for (size_t n = below(3); n > 0; --n) map.set(one_of(kNames), one_of(kWords));
    return map;
  }

 private:
  std::mt19937 random_;
};

// Under the sanitizers this is the test that nothing reads or writes out of bounds.
TEST(RandomInput, ends_in_a_result_or_an_error_for_every_operator) {
  int results = 0;
  for (const OperatorSchema* schema : all_operators()) {
    for (uint32_t seed = 0; seed < 300; ++seed) {
      SCOPED_TRACE(std::string(schema->name) + " seed " + std::to_string(seed));
      Mischief mischief(seed);
      const auto outputs = static_cast<size_t>(std::min(schema->max_outputs, 3));
      const Node node = make_node(std::string(schema->name), mischief.attributes(), outputs);
      std::vector<Tensor> inputs(
          mischief.below(static_cast<size_t>(std::min(schema->max_inputs, 9)) + 1));
      for (Tensor& input : inputs) input = mischief.tensor();
      try {
        for (const Tensor& output : engine::reference::evaluate(node, inputs)) {
          results += output.defined() ? 1 : 0;
        }
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()), "");
      }
      std::vector<Tensor> open(outputs);
      engine::reference::OperatorContext context{node, inputs, open};
      try {
        engine::reference::find_operator_function(schema->name)(context);
      } catch (const Error&) {
      }
    }
  }
  EXPECT_GT(results, 1000);
}

}  // namespace
}  // namespace ounce::testing
