#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "graph/graph.h"

namespace ounce::formats {

/// Reads a model whatever its format: the content decides, not the name. Throws `Error` when it is
/// neither ONNX nor `.ounce`, or is damaged.
Graph read_model(const std::filesystem::path& path);

/// The tensors of a checkpoint by name: a safetensors file, or what `torch.save` wrote (see
/// torch/torch_checkpoint.h). Weights without a graph: `models::load_weights` puts them into one.
std::map<std::string, Tensor> read_checkpoint(const std::filesystem::path& path);

/// Writes in the format that the extension of `path` names (`.onnx`, `.ounce`).
void write_model(const Graph& graph, const std::filesystem::path& path);

/// Throws `Error` naming the first constant that holds a NaN or an infinity, and the element.
/// Masks hold infinities by design, so only constants that a weighted operator (convolution, matrix
/// product, normalisation) multiplies with are looked at.
void check_finite(const Graph& graph);

}  // namespace ounce::formats
