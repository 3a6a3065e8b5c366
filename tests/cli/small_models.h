#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace ounce::cli {

/// A classifier of 32x32 pictures into three classes: Conv, Relu, Conv, Relu, GlobalAveragePool,
/// Flatten, Gemm; weights from `seed`.
Graph small_classifier(unsigned seed = 1);

/// Pictures of any size to twice their size: Conv, Relu, Conv, DepthToSpace.
Graph small_enlarger();

/// One head of attention over an input [1, 12, 16] of its own: two products with a softmax between.
Graph small_attention();

/// Three class folders with `each` pictures of noise around one colour a class.
void write_pictures(const std::filesystem::path& folder, int each);

/// Replaces every occurrence of `from` in the file by `to`, which must be as long. Returns how
/// many.
int patch_file(const std::filesystem::path& path, const std::string& from, const std::string& to);

void write_bytes(const std::filesystem::path& path, const std::string& bytes);

/// Names of everything in a folder, sorted; empty when it does not exist.
std::vector<std::string> names_in(const std::filesystem::path& folder);

}  // namespace ounce::cli
