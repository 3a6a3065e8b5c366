#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "formats/ounce_file/mapped_file.h"
#include "graph/dtype.h"
#include "graph/tensor.h"
#include "onnx/onnx.pb.h"

namespace ounce::formats {

/// The ONNX number of an element type (TensorProto.DataType) and back; nullopt for types that the
/// other side lacks (strings, complex numbers, 8-bit floats; ternary and sign bits).
std::optional<DType> dtype_from_onnx(int data_type);
std::optional<int> dtype_to_onnx(DType dtype);

/// Files that tensors of one model keep their bytes in. Only regular files inside the model's
/// folder are opened, after links are resolved; each is mapped once.
class ExternalData {
 public:
  /// An empty folder refuses every external file.
  explicit ExternalData(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::shared_ptr<const MappedFile> open(const std::string& location);

 private:
  std::filesystem::path resolve(const std::string& location) const;

  std::filesystem::path folder_;
  std::map<std::filesystem::path, std::shared_ptr<const MappedFile>> files_;
};

/// The tensor in `proto`, whose bytes are taken out of it (no copy where they are stored raw).
/// Every count is checked against the bytes present before anything is allocated.
Tensor take_tensor(onnx::TensorProto& proto, ExternalData& external);

}  // namespace ounce::formats
