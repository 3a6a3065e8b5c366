#include "tests/cli/small_models.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <sstream>

#include "graph/operator.h"
#include "tasks/image.h"

namespace ounce::cli {
namespace {

Tensor random_tensor(Shape shape, std::mt19937& random) {
  int64_t fan_in = 1;
  for (size_t i = 1; i < shape.size(); ++i) fan_in *= shape[i];
  std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(fan_in)));
  Tensor tensor(DType::f32, std::move(shape));
  for (float& value : tensor.mutable_data<float>()) value = normal(random);
  return tensor;
}

}  // namespace

Graph small_classifier(unsigned seed) {
  std::mt19937 random(seed);
  Graph graph;
  graph.name = "small";
  ValueId flow = graph.add_input("pixels", DType::f32, {Dim("batch"), 3, 32, 32});
  const auto convolve = [&](int64_t in, int64_t out, const char* name) {
    AttributeMap attributes;
    attributes.set("pads", std::vector<int64_t>{1, 1, 1, 1});
    attributes.set("strides", std::vector<int64_t>{2, 2});
    attributes.set("kernel_shape", std::vector<int64_t>{3, 3});
    const ValueId weights =
        graph.add_constant(std::string(name) + ".weight", random_tensor({out, in, 3, 3}, random));
    const ValueId bias =
        graph.add_constant(std::string(name) + ".bias", random_tensor({out}, random));
    flow = graph.add_node("Conv", {flow, weights, bias}, attributes, name);
    flow = graph.add_node("Relu", {flow}, {}, std::string(name) + ".relu");
  };
  convolve(3, 16, "conv1");
  convolve(16, 32, "conv2");
  flow = graph.add_node("GlobalAveragePool", {flow}, {}, "pool");
  flow = graph.add_node("Flatten", {flow}, {}, "flatten");
  AttributeMap transposed;
  transposed.set("transB", int64_t{1});
  const ValueId weights = graph.add_constant("fc.weight", random_tensor({3, 32}, random));
  const ValueId bias = graph.add_constant("fc.bias", random_tensor({3}, random));
  graph.outputs = {graph.add_node("Gemm", {flow, weights, bias}, transposed, "fc")};
  return graph;
}

Graph small_enlarger() {
  std::mt19937 random(2);
  Graph graph;
  graph.name = "enlarger";
  ValueId flow = graph.add_input("pixels", DType::f32, {Dim("batch"), 3, Dim("h"), Dim("w")});
  const auto convolve = [&](int64_t in, int64_t out, const char* name) {
    AttributeMap attributes;
    attributes.set("pads", std::vector<int64_t>{1, 1, 1, 1});
    attributes.set("kernel_shape", std::vector<int64_t>{3, 3});
    const ValueId weights =
        graph.add_constant(std::string(name) + ".weight", random_tensor({out, in, 3, 3}, random));
    flow = graph.add_node("Conv", {flow, weights}, attributes, name);
  };
  convolve(3, 16, "first");
  flow = graph.add_node("Relu", {flow}, {}, "relu");
  convolve(16, 12, "last");
  AttributeMap shuffle;
  shuffle.set("blocksize", int64_t{2});
  shuffle.set("mode", "CRD");
  graph.outputs = {graph.add_node("DepthToSpace", {flow}, shuffle, "shuffle")};
  infer_shapes(graph);
  return graph;
}

Graph small_attention() {
  Graph graph;
  graph.name = "attention";
  const ValueId x = graph.add_input("x", DType::f32, {1, 12, 16});
  AttributeMap swap;
  swap.set("perm", std::vector<int64_t>{0, 2, 1});
  const ValueId keys = graph.add_node("Transpose", {x}, swap, "keys");
  const ValueId scores = graph.add_node("MatMul", {x, keys}, {}, "scores");
  const ValueId map = graph.add_node("Softmax", {scores}, {}, "map");
  graph.outputs = {graph.add_node("MatMul", {map, x}, {}, "mixed")};
  return graph;
}

void write_pictures(const std::filesystem::path& folder, int each) {
  std::mt19937 random(7);
  for (int c = 0; c < 3; ++c) {
    const auto class_folder = folder / ("class" + std::to_string(c));
    std::filesystem::create_directories(class_folder);
    for (int i = 0; i < each; ++i) {
      tasks::Image image(40, 36);
      for (size_t k = 0; k < image.pixels.size(); ++k) {
        const unsigned base = static_cast<int>(k % 3) == c ? 150 : 40;
        image.pixels[k] = static_cast<uint8_t>(base + random() % 60);
      }
      tasks::write_image(image, class_folder / ("p" + std::to_string(i) + ".jpg"));
    }
  }
}

int patch_file(const std::filesystem::path& path, const std::string& from, const std::string& to) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  std::string bytes = text.str();
  int count = 0;
  for (size_t at = bytes.find(from); at != std::string::npos; at = bytes.find(from, at + 1)) {
    bytes.replace(at, from.size(), to);
    ++count;
  }
  write_bytes(path, bytes);
  return count;
}

void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace ounce::cli
