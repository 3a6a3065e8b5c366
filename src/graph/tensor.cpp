#include "graph/tensor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#include "graph/error.h"

namespace ounce {
namespace {

constexpr size_t kAlignment = 64;

std::shared_ptr<std::byte> allocate(size_t bytes) {
  const size_t rounded = (bytes + kAlignment) / kAlignment * kAlignment;
  if (rounded < bytes) throw Error("tensor is too large");
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) {
    throw Error("out of memory: " + std::to_string(bytes) + " bytes for a tensor");
  }
  return {static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); }};
}

/// Bits of element `i` of a plane of 1, 2 or 4 bits an element.
unsigned plane_bits(const std::byte* plane, int bits, int64_t i) {
  const int per_byte = 8 / bits;
  const auto byte = static_cast<unsigned>(plane[i / per_byte]);
  return (byte >> (bits * (i % per_byte))) & ((1u << bits) - 1u);
}

void set_plane_bits(std::byte* plane, int bits, int64_t i, unsigned code) {
  const int per_byte = 8 / bits;
  const int shift = static_cast<int>(bits * (i % per_byte));
  const unsigned mask = (1u << bits) - 1u;
  const auto old = static_cast<unsigned>(plane[i / per_byte]);
  plane[i / per_byte] = static_cast<std::byte>((old & ~(mask << shift)) | ((code & mask) << shift));
}

/// Elements of a packed tensor.
class PackedElements {
 public:
  PackedElements(DType dtype, int64_t size)
      : dtype_(dtype), bits_(bits_of(dtype)), high_plane_(byte_size(DType::i2, size)) {}

  /// Sign-extended where the type is signed.
  int64_t get(const std::byte* data, int64_t i) const {
    unsigned code = 0;
    if (dtype_ == DType::i3) {
      code = plane_bits(data, 2, i) | plane_bits(data + high_plane_, 1, i) << 2;
    } else {
      code = plane_bits(data, bits_, i);
    }
    if (dtype_ == DType::u1) return code != 0 ? -1 : 1;
    const bool negative = dtype_ != DType::u4 && (code >> (bits_ - 1)) != 0;
    return static_cast<int64_t>(code) - (negative ? 1 << bits_ : 0);
  }

  void set(std::byte* data, int64_t i, int64_t value) const {
    const unsigned code =
        dtype_ == DType::u1 ? (value < 0 ? 1u : 0u) : static_cast<unsigned>(value);
    if (dtype_ == DType::i3) {
      set_plane_bits(data, 2, i, code);
      set_plane_bits(data + high_plane_, 1, i, code >> 2);
    } else {
      set_plane_bits(data, bits_, i, code);
    }
  }

 private:
  DType dtype_;
  int bits_;
  size_t high_plane_;  // of i3, in bytes
};

/// All elements of a packed tensor as i8: a byte of the tensor at a time, by a table.
void unpack_elements(const Tensor& tensor, int8_t* target) {
  if (tensor.dtype() == DType::i3) {
    const PackedElements elements(tensor.dtype(), tensor.size());
    for (int64_t i = 0; i < tensor.size(); ++i) {
      target[i] = static_cast<int8_t>(elements.get(tensor.raw(), i));
    }
    return;
  }
  constexpr int kMostPerByte = 8;
  const int per_byte = 8 / bits_of(tensor.dtype());
  const PackedElements elements(tensor.dtype(), per_byte);
  std::array<std::array<int8_t, kMostPerByte>, 256> table{};
  for (size_t byte = 0; byte < table.size(); ++byte) {
    const auto packed = static_cast<std::byte>(byte);
    for (int i = 0; i < per_byte; ++i) {
      table[byte][static_cast<size_t>(i)] = static_cast<int8_t>(elements.get(&packed, i));
    }
  }
  for (int64_t i = 0; i < tensor.size(); i += per_byte) {
    const auto& values = table[static_cast<size_t>(tensor.raw()[i / per_byte])];
    const int64_t count = std::min<int64_t>(per_byte, tensor.size() - i);
    std::memcpy(target + i, values.data(), static_cast<size_t>(count));
  }
}

template <class T>
T saturate_from_double(double value) {
  if (std::isnan(value)) return T{0};
  // The upper bound as a double may round up to max + 1, hence >=.
  if (value >= static_cast<double>(std::numeric_limits<T>::max())) {
    return std::numeric_limits<T>::max();
  }
  if (value <= static_cast<double>(std::numeric_limits<T>::lowest())) {
    return std::numeric_limits<T>::lowest();
  }
  return static_cast<T>(value);
}

/// Calls `f(T{})` with the C++ type of a whole-byte, non-half dtype.
template <class F>
auto with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::i64:
      return f(int64_t{});
    case DType::i32:
      return f(int32_t{});
    case DType::i16:
      return f(int16_t{});
    case DType::i8:
      return f(int8_t{});
    case DType::u64:
      return f(uint64_t{});
    case DType::u32:
      return f(uint32_t{});
    case DType::u16:
      return f(uint16_t{});
    case DType::u8:
      return f(uint8_t{});
    case DType::boolean:
      return f(bool{});
    default:
      throw Error("no plain C++ type for " + std::string(name_of(dtype)));
  }
}

bool is_half(DType dtype) {
  return dtype == DType::f16 || dtype == DType::bf16;
}

float half_element(const Tensor& tensor, int64_t i) {
  const uint16_t bits = reinterpret_cast<const uint16_t*>(tensor.raw())[i];
  return tensor.dtype() == DType::f16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

template <class From, class To>
To convert(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != From{0};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    return saturate_from_double<To>(static_cast<double>(value));
  } else {
    return static_cast<To>(value);
  }
}

/// The code of a packed element: floats saturate at the ends of the type, integers wrap later.
template <class From>
int64_t packed_code(From value, DType dtype) {
  const auto code = convert<From, int64_t>(value);
  if (std::is_integral_v<From> || dtype == DType::u1) return code;
  const int64_t codes = int64_t{1} << bits_of(dtype);
  const int64_t low = dtype == DType::u4 ? 0 : -codes / 2;
  return std::clamp(code, low, low + codes - 1);
}

/// Calls `sink(i, value)` for each element, value in the widest fitting C++ type.
template <class Sink>
void for_each_element(const Tensor& tensor, Sink&& sink) {
  if (is_half(tensor.dtype())) {
    for (int64_t i = 0; i < tensor.size(); ++i) sink(i, half_element(tensor, i));
  } else if (is_packed(tensor.dtype())) {
    const PackedElements elements(tensor.dtype(), tensor.size());
    for (int64_t i = 0; i < tensor.size(); ++i) sink(i, elements.get(tensor.raw(), i));
  } else {
    with_type(tensor.dtype(), [&](auto zero) {
      const auto values = tensor.data<decltype(zero)>();
      for (int64_t i = 0; i < tensor.size(); ++i) sink(i, values[static_cast<size_t>(i)]);
    });
  }
}

}  // namespace

Error rank_error() {
  return Error("a tensor has more than " + std::to_string(kMaxRank) + " dimensions");
}

int64_t element_count(std::span<const int64_t> shape) {
  if (shape.size() > kMaxRank) throw rank_error();
  int64_t count = 1;
  for (const int64_t dim : shape) {
    if (dim < 0) throw Error("negative dimension in shape " + to_string(shape));
    if (dim != 0 && count > std::numeric_limits<int64_t>::max() / 64 / dim) {
      throw Error("shape " + to_string(shape) + " is too large");
    }
    count *= dim;
  }
  return count;
}

std::vector<int64_t> row_major_strides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i > 1; --i) strides[i - 2] = strides[i - 1] * shape[i - 1];
  return strides;
}

std::string to_string(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

int64_t normalize_axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    throw Error("axis " + std::to_string(axis) + " is outside a tensor of rank " +
                std::to_string(rank));
  }
  return axis < 0 ? axis + rank : axis;
}

Tensor::Tensor(DType dtype, Shape shape)
    : dtype_(dtype), shape_(std::move(shape)), size_(element_count(shape_)) {
  const size_t count = bytes();
  std::shared_ptr<std::byte> memory = allocate(count);
  std::memset(memory.get(), 0, count);
  data_ = memory.get();
  owner_ = std::move(memory);
  writable_ = true;
}

Tensor Tensor::borrow(DType dtype, Shape shape, std::span<const std::byte> bytes,
                      std::shared_ptr<const void> owner) {
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.size_ = element_count(tensor.shape_);
  if (tensor.bytes() != bytes.size()) {
    throw Error("tensor " + to_string(tensor.shape_) + " of " + std::string(name_of(dtype)) +
                " needs " + std::to_string(tensor.bytes()) + " bytes, got " +
                std::to_string(bytes.size()));
  }
  tensor.data_ = bytes.data();
  tensor.owner_ = std::move(owner);
  return tensor;
}

Tensor Tensor::window(DType dtype, Shape shape, std::byte* memory) {
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.size_ = element_count(tensor.shape_);
  tensor.data_ = memory;
  tensor.writable_ = true;
  return tensor;
}

std::byte* Tensor::mutable_raw() {
  if (!defined()) throw Error("write to an undefined tensor");
  if (!writable_ || owner_.use_count() > 1) {
    std::shared_ptr<std::byte> memory = allocate(bytes());
    std::memcpy(memory.get(), data_, bytes());
    data_ = memory.get();
    owner_ = std::move(memory);
    writable_ = true;
  }
  return const_cast<std::byte*>(data_);
}

Tensor Tensor::reshaped(Shape shape) const {
  if (element_count(shape) != size_) {
    throw Error("cannot view " + std::to_string(size_) + " elements of shape " + to_string(shape_) +
                " as " + to_string(shape));
  }
  Tensor tensor = *this;
  tensor.shape_ = std::move(shape);
  return tensor;
}

std::vector<int64_t> Tensor::to_i64() const {
  if (is_float(dtype_))
    throw Error("integers wanted, tensor holds " + std::string(name_of(dtype_)));
  std::vector<int64_t> values(static_cast<size_t>(size_));
  for_each_element(*this, [&](int64_t i, auto value) {
    values[static_cast<size_t>(i)] = static_cast<int64_t>(value);
  });
  return values;
}

std::vector<float> Tensor::to_f32() const {
  std::vector<float> values(static_cast<size_t>(size_));
  for_each_element(*this, [&](int64_t i, auto value) {
    values[static_cast<size_t>(i)] = static_cast<float>(value);
  });
  return values;
}

bool Tensor::identical_to(const Tensor& other) const {
  return dtype_ == other.dtype_ && shape_ == other.shape_ &&
         (size_ == 0 || std::memcmp(data_, other.data_, bytes()) == 0);
}

void Tensor::check_dtype(DType wanted) const {
  if (dtype_ != wanted) {
    throw Error("tensor holds " + std::string(name_of(dtype_)) + ", not " +
                std::string(name_of(wanted)));
  }
}

Tensor cast(const Tensor& tensor, DType dtype) {
  if (tensor.dtype() == dtype) return tensor;
  Tensor result(dtype, tensor.shape());
  std::byte* target = result.mutable_raw();
  if (dtype == DType::i8 && is_packed(tensor.dtype())) {
    unpack_elements(tensor, reinterpret_cast<int8_t*>(target));
  } else if (is_half(dtype)) {
    auto* halves = reinterpret_cast<uint16_t*>(target);
    for_each_element(tensor, [&](int64_t i, auto value) {
      const auto number = static_cast<float>(value);
      halves[i] = dtype == DType::f16 ? float_to_half(number) : float_to_bfloat16(number);
    });
  } else if (is_packed(dtype)) {
    const PackedElements elements(dtype, tensor.size());
    for_each_element(
        tensor, [&](int64_t i, auto value) { elements.set(target, i, packed_code(value, dtype)); });
  } else {
    with_type(dtype, [&](auto zero) {
      using To = decltype(zero);
      auto* values = reinterpret_cast<To*>(target);
      for_each_element(
          tensor, [&](int64_t i, auto value) { values[i] = convert<decltype(value), To>(value); });
    });
  }
  return result;
}

}  // namespace ounce
