#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "formats/formats.h"
#include "formats/npy.h"
#include "formats/onnx/onnx.h"
#include "formats/ounce_file/ounce_file.h"
#include "formats/torch/torch_checkpoint.h"
#include "graph/error.h"
#include "graph/operator.h"

namespace ounce::fuzz {

/// What the tools do first with a model they have read; hostile shapes must survive it too.
inline void use(Graph graph) {
  formats::check_finite(graph);
  infer_shapes(graph);
}

/// Runs `read`; an `Error` is a proper answer to hostile bytes, anything else a finding.
template <class Read>
void expect_error_or_success(Read&& read) {
  try {
    read();
  } catch (const Error&) {
  }
}

inline void onnx(std::span<const std::byte> bytes) {
  expect_error_or_success([&] { use(formats::read_onnx_bytes(bytes)); });
  expect_error_or_success([&] { formats::read_tensor_proto_bytes(bytes); });
}

inline void ounce(std::span<const std::byte> bytes) {
  // Aligned like a mapping, so that tensors are borrowed, and of exactly this size.
  const std::shared_ptr<std::byte> copy(new std::byte[bytes.size()],
                                        std::default_delete<std::byte[]>());
  std::copy(bytes.begin(), bytes.end(), copy.get());
  expect_error_or_success([&] {
    use(formats::read_ounce_bytes({copy.get(), bytes.size()}, copy));
  });
}

/// The text of a graph, inside a sound container: past the layers where most mutations end. The
/// container holds "f", f32 [2, 2], and "i", i64 [2].
inline void ounce_graph(std::span<const std::byte> bytes) {
  std::string text = R"({"__metadata__":{"ounce.format":"1","ounce.graph":")";
  for (const std::byte byte : bytes) {
    const char c = static_cast<char>(byte);
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  text += R"("},"f":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
          R"("i":{"dtype":"I64","shape":[2],"data_offsets":[16,32]}})";
  std::string file;
  for (int shift = 0; shift < 64; shift += 8) {
    file += static_cast<char>(static_cast<uint64_t>(text.size()) >> shift & 0xff);
  }
  file += text;
  for (char i = 0; i < 32; ++i) file += static_cast<char>(i % 8 == 0 ? i / 8 : 0);
  ounce(std::as_bytes(std::span(file.data(), file.size())));
}

inline void npy(std::span<const std::byte> bytes) {
  expect_error_or_success([&] { formats::read_npy_bytes(bytes).to_f32(); });
}

inline void torch_checkpoint(std::span<const std::byte> bytes) {
  expect_error_or_success([&] { formats::read_torch_checkpoint_bytes(bytes); });
}

}  // namespace ounce::fuzz
