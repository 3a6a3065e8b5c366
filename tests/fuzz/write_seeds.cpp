// Writes small healthy files for the fuzzers to start from: write_seeds FOLDER
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "formats/formats.h"
#include "formats/npy.h"
#include "formats/ounce_file/mapped_file.h"
#include "formats/ounce_file/safetensors.h"
#include "graph/error.h"
#include "graph/operator.h"
#include "tests/formats/torch_pickles.h"

namespace {

namespace fs = std::filesystem;
using namespace ounce;

AttributeMap with(const char* name, Attribute value) {
  AttributeMap attributes;
  attributes.set(name, std::move(value));
  return attributes;
}

Tensor ramp(DType dtype, Shape shape) {
  Tensor tensor(DType::f32, std::move(shape));
  float value = 0;
  for (float& element : tensor.mutable_data<float>()) element = value++;
  return cast(tensor, dtype);
}

/// Convolution, pooling, normalisation and a head: what a classifier is made of.
Graph convolutional() {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim(1), Dim(2), Dim(4), Dim(4)});
  const ValueId w = graph.add_constant("w", ramp(DType::f32, {4, 2, 3, 3}));
  ValueId y = graph.add_node("Conv", {x, w}, with("pads", std::vector<int64_t>{1, 1, 1, 1}));
  y = graph.add_node("MaxPool", {y}, with("kernel_shape", std::vector<int64_t>{2, 2}));
  const ValueId sizes = graph.add_constant("sizes", Tensor::of_i64({1, 4, 8, 8}));
  y = graph.add_node("Resize", {y, kNoValue, kNoValue, sizes});
  y = graph.add_node("ReduceMean", {y, graph.add_constant("axes", Tensor::of_i64({2, 3}))},
                     with("keepdims", int64_t{0}));
  graph.outputs = {graph.add_node("Softmax", {y})};
  return graph;
}

/// Shape arithmetic and slicing: what an exported transformer is made of.
Graph arithmetic() {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim(2), Dim(6)});
  const ValueId shape = graph.add_node("Shape", {x});
  const ValueId one = graph.add_constant("one", Tensor::of_i64({1}));
  const ValueId first =
      graph.add_node("Gather", {shape, graph.add_constant("zero", Tensor::of_i64({0}))});
  const ValueId target =
      graph.add_node("Concat", {first, graph.add_constant("rest", Tensor::of_i64({3, 2}))},
                     with("axis", int64_t{0}));
  ValueId y = graph.add_node("Reshape", {x, target});
  y = graph.add_node("Transpose", {y}, with("perm", std::vector<int64_t>{0, 2, 1}));
  y = graph.add_node("Slice", {y, one, graph.add_constant("end", Tensor::of_i64({9})), one});
  y = graph.add_node("Einsum", {y, y}, with("equation", std::string("bij,bkj->bik")));
  graph.add_node("Split", {y}, with("num_outputs", int64_t{2}), "split", 2);
  graph.outputs = graph.nodes.back().outputs;
  return graph;
}

/// Four-bit weights in blocks, quantized activations.
Graph quantized() {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim(1), Dim(4)});
  const ValueId scale = graph.add_constant("scale", Tensor::scalar(0.5f));
  const ValueId zero = graph.add_constant("zero", cast(Tensor::scalar(3.0f), DType::u8));
  const ValueId q = graph.add_node("QuantizeLinear", {x, scale, zero});
  const ValueId d = graph.add_node("DequantizeLinear", {q, scale, zero});
  const ValueId codes = graph.add_constant("codes", ramp(DType::i4, {4, 3}));
  const ValueId scales = graph.add_constant("scales", ramp(DType::f32, {2, 3}));
  AttributeMap blocks = with("block_size", int64_t{2});
  blocks.set("axis", int64_t{0});
  const ValueId weights = graph.add_node("DequantizeLinear", {codes, scales}, blocks);
  graph.outputs = {graph.add_node("MatMul", {d, weights})};
  graph.metadata["ounce.preprocess"] = "{}";
  return graph;
}

/// A graph over the two constants that the container of the `ounce_graph` target holds.
Graph over_fixed_constants(const char* op, AttributeMap attributes = {}) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim("batch"), Dim(2)});
  const ValueId f = graph.add_constant("f", ramp(DType::f32, {2, 2}));
  const ValueId i = graph.add_constant("i", Tensor::of_i64({1, 1}));
  const ValueId y = graph.add_node("MatMul", {x, f});
  graph.outputs = {graph.add_node(op, {y, i}, std::move(attributes))};
  return graph;
}

void write_graphs(const fs::path& folder) {
  for (const char* op : {"Reshape", "Expand", "Tile", "ReduceSum", "Gather", "Unsqueeze"}) {
    formats::write_model(over_fixed_constants(op, with("axis", int64_t{0})),
                         folder / "whole.ounce");
    const auto file = formats::MappedFile::open(folder / "whole.ounce");
    std::ofstream(folder / op) << formats::parse_safetensors(file->bytes()).metadata["ounce.graph"];
  }
  fs::remove(folder / "whole.ounce");
}

void write_models(const fs::path& folder) {
  int number = 0;
  for (Graph graph : {convolutional(), arithmetic(), quantized()}) {
    infer_shapes(graph);
    const std::string name = std::to_string(number++);
    formats::write_model(graph, folder / "onnx" / (name + ".onnx"));
    formats::write_model(graph, folder / "ounce" / (name + ".ounce"));
  }
}

void write_arrays(const fs::path& folder) {
  for (const DType dtype : {DType::f32, DType::f16, DType::i64, DType::u8, DType::boolean}) {
    formats::write_npy(ramp(dtype, {2, 3}),
                       folder / "npy" / (std::string(name_of(dtype)) + ".npy"));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_seeds FOLDER\n");
    return 2;
  }
  try {
    for (const char* format : {"onnx", "ounce", "ounce_graph", "npy", "torch_checkpoint"}) {
      fs::create_directories(fs::path(argv[1]) / format);
    }
    write_models(argv[1]);
    write_graphs(fs::path(argv[1]) / "ounce_graph");
    write_arrays(argv[1]);
    std::ofstream(fs::path(argv[1]) / "torch_checkpoint" / "older.pth", std::ios::binary)
        << formats::torch_pickles::kSmallCheckpoint;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
