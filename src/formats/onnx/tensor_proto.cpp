#include "formats/onnx/tensor_proto.h"

#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "formats/ounce_file/adopt.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

constexpr std::array<std::pair<int, DType>, 15> kTypes = {{{1, DType::f32},
                                                           {2, DType::u8},
                                                           {3, DType::i8},
                                                           {4, DType::u16},
                                                           {5, DType::i16},
                                                           {6, DType::i32},
                                                           {7, DType::i64},
                                                           {9, DType::boolean},
                                                           {10, DType::f16},
                                                           {11, DType::f64},
                                                           {12, DType::u32},
                                                           {13, DType::u64},
                                                           {16, DType::bf16},
                                                           {21, DType::u4},
                                                           {22, DType::i4}}};

void check_count(size_t wanted, int64_t present, const Shape& shape, DType dtype) {
  if (wanted == static_cast<size_t>(present)) return;
  throw Error("shape " + to_string(shape) + " of " + std::string(name_of(dtype)) + " needs " +
                  std::to_string(wanted) + " stored values, found " + std::to_string(present),
              {}, "the file is damaged; export it again");
}

/// Copies a typed field whose elements have, or are narrowed to, the storage type T.
template <class T, class Field>
Tensor from_field(const Field& field, DType dtype, Shape shape, size_t stored) {
  check_count(stored, field.size(), shape, dtype);
  Tensor tensor(dtype, std::move(shape));
  auto* target = reinterpret_cast<T*>(tensor.mutable_raw());
  for (size_t i = 0; i < stored; ++i) target[i] = static_cast<T>(field[static_cast<int>(i)]);
  return tensor;
}

Tensor from_int32_field(const onnx::TensorProto& proto, DType dtype, Shape shape) {
  const auto& field = proto.int32_data();
  const auto count = static_cast<size_t>(element_count(shape));
  switch (dtype) {
    case DType::i32:
      return from_field<int32_t>(field, dtype, std::move(shape), count);
    case DType::boolean:
      return from_field<bool>(field, dtype, std::move(shape), count);
    // The bit patterns of halves sit in the low 16 bits; packed bytes in the low 8.
    case DType::f16:
    case DType::bf16:
    case DType::u16:
    case DType::i16:
      return from_field<uint16_t>(field, dtype, std::move(shape), count);
    default:
      const size_t stored = byte_size(dtype, static_cast<int64_t>(count));
      return from_field<uint8_t>(field, dtype, std::move(shape), stored);
  }
}

Tensor from_typed_fields(const onnx::TensorProto& proto, DType dtype, Shape shape) {
  const auto count = static_cast<size_t>(element_count(shape));
  switch (dtype) {
    case DType::f32:
      return from_field<float>(proto.float_data(), dtype, std::move(shape), count);
    case DType::f64:
      return from_field<double>(proto.double_data(), dtype, std::move(shape), count);
    case DType::i64:
      return from_field<int64_t>(proto.int64_data(), dtype, std::move(shape), count);
    case DType::u64:
      return from_field<uint64_t>(proto.uint64_data(), dtype, std::move(shape), count);
    case DType::u32:
      return from_field<uint32_t>(proto.uint64_data(), dtype, std::move(shape), count);
    default:
      return from_int32_field(proto, dtype, std::move(shape));
  }
}

Tensor from_raw(onnx::TensorProto& proto, DType dtype, Shape shape) {
  const size_t wanted = byte_size(dtype, element_count(shape));
  if (wanted != proto.raw_data().size()) {
    throw Error("shape " + to_string(shape) + " of " + std::string(name_of(dtype)) + " needs " +
                    std::to_string(wanted) + " bytes, found " +
                    std::to_string(proto.raw_data().size()),
                {}, "the file is damaged; export it again");
  }
  const std::shared_ptr<std::string> bytes(proto.release_raw_data());
  return adopt_bytes(dtype, std::move(shape),
                     std::as_bytes(std::span(bytes->data(), bytes->size())), bytes);
}

struct ExternalRange {
  std::string location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
};

uint64_t parse_number(const std::string& key, const std::string& text) {
  uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size()) {
    throw Error("external data " + key + " is not a number: '" + text + "'");
  }
  return number;
}

ExternalRange external_range(const onnx::TensorProto& proto) {
  ExternalRange range;
  for (const auto& entry : proto.external_data()) {
    if (entry.key() == "location") range.location = entry.value();
    if (entry.key() == "offset") range.offset = parse_number("offset", entry.value());
    if (entry.key() == "length") range.length = parse_number("length", entry.value());
  }
  return range;
}

Tensor from_external(const onnx::TensorProto& proto, ExternalData& external, DType dtype,
                     Shape shape) {
  const ExternalRange range = external_range(proto);
  const size_t wanted = byte_size(dtype, element_count(shape));
  const auto file = external.open(range.location);
  const size_t available = file->bytes().size();
  if (range.offset > available || wanted > available - range.offset) {
    throw Error("external data '" + range.location + "' holds " + std::to_string(available) +
                    " bytes, the tensor wants " + std::to_string(wanted) + " at offset " +
                    std::to_string(range.offset),
                {}, "the data file does not belong to this model or is cut off");
  }
  if (range.length && *range.length != wanted) {
    throw Error("external data length " + std::to_string(*range.length) + " does not fit shape " +
                to_string(shape) + " of " + std::string(name_of(dtype)));
  }
  return adopt_bytes(dtype, std::move(shape), file->bytes().subspan(range.offset, wanted), file);
}

}  // namespace

std::optional<DType> dtype_from_onnx(int data_type) {
  for (const auto& [number, dtype] : kTypes) {
    if (number == data_type) return dtype;
  }
  return std::nullopt;
}

std::optional<int> dtype_to_onnx(DType dtype) {
  for (const auto& [number, candidate] : kTypes) {
    if (candidate == dtype) return number;
  }
  return std::nullopt;
}

Tensor take_tensor(onnx::TensorProto& proto, ExternalData& external) {
  const std::optional<DType> dtype = dtype_from_onnx(proto.data_type());
  if (!dtype) {
    throw Error("element type " + std::to_string(proto.data_type()) + " is not supported", {},
                "f32, f64, f16, bf16, bool and integers of 4 to 64 bits can be read");
  }
  if (proto.has_segment()) throw Error("tensors in segments are not supported");
  Shape shape(proto.dims().begin(), proto.dims().end());
  element_count(shape);
  if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
    return from_external(proto, external, *dtype, std::move(shape));
  }
  if (proto.has_raw_data()) return from_raw(proto, *dtype, std::move(shape));
  return from_typed_fields(proto, *dtype, std::move(shape));
}

}  // namespace ounce::formats
