#include "train/tensor.h"

#include <cstring>
#include <optional>

namespace ounce::train {
namespace {

std::optional<at::ScalarType> scalar_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return at::kFloat;
    case DType::f64:
      return at::kDouble;
    case DType::i64:
      return at::kLong;
    case DType::i32:
      return at::kInt;
    case DType::i16:
      return at::kShort;
    case DType::i8:
      return at::kChar;
    case DType::u8:
      return at::kByte;
    case DType::boolean:
      return at::kBool;
    default:
      return std::nullopt;
  }
}

/// What a dtype that libtorch does not hold is widened to.
DType widened(DType dtype) {
  switch (dtype) {
    case DType::f16:
    case DType::bf16:
      return DType::f32;
    case DType::u4:
      return DType::u8;
    case DType::i4:
    case DType::i3:
    case DType::i2:
    case DType::u1:
      return DType::i8;
    default:
      return dtype;
  }
}

DType dtype_of_scalar_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return DType::f32;
    case at::kLong:
      return DType::i64;
    case at::kInt:
      return DType::i32;
    case at::kShort:
      return DType::i16;
    case at::kChar:
      return DType::i8;
    case at::kByte:
      return DType::u8;
    case at::kBool:
      return DType::boolean;
    default:
      throw Error(std::string("a tensor of ") + at::toString(type) + " has no equal in a graph");
  }
}

}  // namespace

at::Tensor to_torch(const Tensor& tensor) {
  const DType dtype = widened(tensor.dtype());
  const std::optional<at::ScalarType> type = scalar_type(dtype);
  if (!type) throw Error("libtorch has no tensors of " + std::string(name_of(tensor.dtype())));
  const Tensor content = dtype == tensor.dtype() ? tensor : cast(tensor, dtype);
  at::Tensor result = at::empty(content.shape(), *type);
  if (content.bytes() > 0) std::memcpy(result.data_ptr(), content.raw(), content.bytes());
  return result;
}

Tensor from_torch(const at::Tensor& tensor) {
  at::Tensor content = tensor.detach().to(at::kCPU).contiguous();
  if (content.scalar_type() == at::kDouble) content = content.to(at::kFloat);
  Tensor result(dtype_of_scalar_type(content.scalar_type()), content.sizes().vec());
  if (result.bytes() > 0) std::memcpy(result.mutable_raw(), content.data_ptr(), result.bytes());
  return result;
}

}  // namespace ounce::train
