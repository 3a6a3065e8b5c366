#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "formats/formats.h"
#include "formats/npy.h"
#include "formats/onnx/onnx.h"
#include "formats/ounce_file/ounce_file.h"
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

inline void npy(std::span<const std::byte> bytes) {
  expect_error_or_success([&] { formats::read_npy_bytes(bytes).to_f32(); });
}

}  // namespace ounce::fuzz
