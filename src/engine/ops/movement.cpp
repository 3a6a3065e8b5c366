#include <algorithm>
#include <cstring>
#include <optional>
#include <span>

#include "engine/kernels/tensor/elementwise.h"
#include "engine/ops/factories.h"

// Operators that move whole elements. All are strided copies of blocks: what differs is where the
// blocks come from.
namespace ounce::engine {
namespace {

size_t element_bytes(const StepRequest& request, ValueId id) {
  return static_cast<size_t>(bits_of(request.dtype(id))) / 8;
}

int64_t product(const Shape& shape, size_t begin, size_t end) {
  int64_t result = 1;
  for (size_t i = begin; i < end; ++i) result *= shape[i];
  return result;
}

size_t axis_of(const StepRequest& request, int64_t rank, int64_t fallback) {
  return static_cast<size_t>(
      normalize_axis(request.node.attributes.get_int("axis", fallback), rank));
}

/// Copies a box [dims...] between two strided arrays (strides in bytes), innermost blocks of
/// `block` bytes contiguous in both.
struct StridedCopy {
  static constexpr size_t kMaxRank = 8;
  size_t rank = 0;
  int64_t dims[kMaxRank] = {};
  int64_t from_strides[kMaxRank] = {};
  int64_t to_strides[kMaxRank] = {};
  size_t block = 0;

  void run(const std::byte* from, std::byte* to) const { copy(0, from, to); }

 private:
  void copy(size_t axis, const std::byte* from, std::byte* to) const {
    if (axis == rank) {
      std::memcpy(to, from, block);
      return;
    }
    if (axis + 1 == rank && block == 4) return copy_line<uint32_t>(axis, from, to);
    if (axis + 1 == rank && block == 1) return copy_line<uint8_t>(axis, from, to);
    for (int64_t i = 0; i < dims[axis]; ++i) {
      copy(axis + 1, from + i * from_strides[axis], to + i * to_strides[axis]);
    }
  }

  template <class T>
  void copy_line(size_t axis, const std::byte* from, std::byte* to) const {
    for (int64_t i = 0; i < dims[axis]; ++i) {
      std::memcpy(to + i * to_strides[axis], from + i * from_strides[axis], sizeof(T));
    }
  }
};

/// Merges axes that are contiguous in both arrays, the innermost ones into the block.
StridedCopy strided_copy(const Shape& dims, const std::vector<int64_t>& from,
                         const std::vector<int64_t>& to, size_t element) {
  StridedCopy copy;
  copy.block = element;
  size_t rank = dims.size();
  while (rank > 0 && from[rank - 1] == static_cast<int64_t>(copy.block) &&
         to[rank - 1] == static_cast<int64_t>(copy.block)) {
    copy.block *= static_cast<size_t>(dims[rank - 1]);
    --rank;
  }
  copy.rank = rank;
  for (size_t i = 0; i < rank; ++i) {
    copy.dims[i] = dims[i];
    copy.from_strides[i] = from[i];
    copy.to_strides[i] = to[i];
  }
  return copy;
}

void fill_elements(std::byte* out, int64_t count, std::span<const std::byte> element) {
  if (std::all_of(element.begin(), element.end(), [&](std::byte b) { return b == element[0]; })) {
    std::memset(out, std::to_integer<int>(element[0]), static_cast<size_t>(count) * element.size());
    return;
  }
  for (int64_t i = 0; i < count; ++i, out += element.size()) {
    std::memcpy(out, element.data(), element.size());
  }
}

std::vector<int64_t> byte_strides(const Shape& shape, size_t element) {
  std::vector<int64_t> strides = row_major_strides(shape);
  for (int64_t& stride : strides) stride *= static_cast<int64_t>(element);
  return strides;
}

std::unique_ptr<Step> copy_step(std::string_view kernel, ValueId x, ValueId y, StridedCopy copy,
                                int64_t offset) {
  return make_step(kernel, [=](const RunContext& context) {
    copy.run(context.at<const std::byte>(x) + offset, context.at<std::byte>(y));
  });
}

/// Axes merged where they stay neighbours; true and the three sizes when what remains is a batch of
/// plain transposes.
bool as_matrix_transpose(const Shape& shape, const std::vector<int64_t>& perm, int64_t& batch,
                         int64_t& rows, int64_t& columns) {
  size_t fixed = 0;
  while (fixed < perm.size() && perm[fixed] == static_cast<int64_t>(fixed)) ++fixed;
  // The rest must be a rotation: [r.., c..] -> [c.., r..].
  const size_t rest = perm.size() - fixed;
  if (rest < 2) return false;
  const auto split = static_cast<size_t>(perm[fixed]);
  for (size_t i = 0; i < rest; ++i) {
    const size_t expected = split + i < perm.size() ? split + i : split + i - rest;
    if (perm[fixed + i] != static_cast<int64_t>(expected)) return false;
  }
  batch = product(shape, 0, fixed);
  rows = product(shape, fixed, split);
  columns = product(shape, split, perm.size());
  return true;
}

/// A value as a piece of every row of another: what Concat writes and Split reads.
struct RowPart {
  ValueId value;
  int64_t offset;  // in bytes, from the start of a row
  int64_t bytes;
};
struct RowParts {
  int64_t rows;
  int64_t bytes;  // of a row
  std::vector<RowPart> parts;
};

/// `pieces` of `whole` along the node's axis, in order; nullopt when one is omitted or packed.
std::optional<RowParts> row_parts(const StepRequest& request, ValueId whole,
                                  const std::vector<ValueId>& pieces) {
  const Shape shape = request.shape(whole);
  if (is_packed(request.dtype(whole))) return std::nullopt;
  const size_t axis = axis_of(request, static_cast<int64_t>(shape.size()), 0);
  const auto element = static_cast<int64_t>(element_bytes(request, whole));
  RowParts result = {product(shape, 0, axis), product(shape, axis, shape.size()) * element, {}};
  int64_t offset = 0;
  for (const ValueId piece : pieces) {
    if (piece == kNoValue) return std::nullopt;
    const Shape part = request.shape(piece);
    const int64_t bytes = product(part, axis, part.size()) * element;
    result.parts.push_back({piece, offset, bytes});
    offset += bytes;
  }
  return result;
}

/// Copies `bytes` of each of `rows` rows that lie the given strides apart.
void copy_rows(const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride,
               int64_t rows, int64_t bytes) {
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(to + r * to_stride, from + r * from_stride, static_cast<size_t>(bytes));
  }
}

}  // namespace

std::unique_ptr<Step> make_copy(const StepRequest& request) {
  const ValueId x = request.node.input(0);
  const ValueId y = request.node.output(0);
  if (is_packed(request.dtype(x))) return nullptr;
  Shape source = request.shape(x);
  const Shape target = request.shape(y);
  const size_t element = element_bytes(request, x);
  if (element_count(source) == element_count(target)) source = target;  // Reshape
  if (target.size() > StridedCopy::kMaxRank || source.size() > target.size()) return nullptr;
  source.insert(source.begin(), target.size() - source.size(), 1);
  std::vector<int64_t> from = byte_strides(source, element);
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != target[i]) from[i] = 0;  // broadcast
  }
  return copy_step("copy", x, y, strided_copy(target, from, byte_strides(target, element), element),
                   0);
}

std::unique_ptr<Step> make_transpose(const StepRequest& request) {
  const ValueId x = request.node.input(0);
  const ValueId y = request.node.output(0);
  const Shape shape = request.shape(x);
  const DType dtype = request.dtype(x);
  if (is_packed(dtype) || shape.size() > StridedCopy::kMaxRank) return nullptr;
  std::vector<int64_t> perm = request.node.attributes.get_ints("perm");
  if (perm.empty()) {
    for (size_t i = shape.size(); i > 0; --i) perm.push_back(static_cast<int64_t>(i) - 1);
  }
  int64_t batch = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  if (as_matrix_transpose(shape, perm, batch, rows, columns)) {
    if (dtype == DType::f32) {
      return make_step("transpose_f32", [=](const RunContext& context) {
        transpose_f32(context.kernels, context.at<const float>(x), context.at<float>(y), batch,
                      rows, columns);
      });
    }
    if (dtype == DType::u8) {
      return make_step("transpose_u8", [=](const RunContext& context) {
        transpose_u8(context.kernels, context.at<const uint8_t>(x), context.at<uint8_t>(y), batch,
                     rows, columns);
      });
    }
  }
  const size_t element = element_bytes(request, x);
  const Shape target = request.shape(y);
  const std::vector<int64_t> source_strides = byte_strides(shape, element);
  std::vector<int64_t> from;
  for (const int64_t axis : perm) from.push_back(source_strides[static_cast<size_t>(axis)]);
  return copy_step("transpose", x, y,
                   strided_copy(target, from, byte_strides(target, element), element), 0);
}

std::unique_ptr<Step> make_concat(const StepRequest& request) {
  const ValueId y = request.node.output(0);
  const auto parts = row_parts(request, y, request.node.inputs);
  if (!parts) return nullptr;
  return make_step("concat", [=, whole = *parts](const RunContext& context) {
    auto* to = context.at<std::byte>(y);
    for (const RowPart& part : whole.parts) {
      const auto* from = context.at<const std::byte>(part.value);
      copy_rows(from, part.bytes, to + part.offset, whole.bytes, whole.rows, part.bytes);
    }
  });
}

std::unique_ptr<Step> make_split(const StepRequest& request) {
  const ValueId x = request.node.input(0);
  const auto parts = row_parts(request, x, request.node.outputs);
  if (!parts) return nullptr;
  return make_step("split", [=, whole = *parts](const RunContext& context) {
    const auto* from = context.at<const std::byte>(x);
    for (const RowPart& part : whole.parts) {
      auto* to = context.at<std::byte>(part.value);
      copy_rows(from + part.offset, whole.bytes, to, part.bytes, whole.rows, part.bytes);
    }
  });
}

std::unique_ptr<Step> make_slice(const StepRequest& request) {
  const Node& node = request.node;
  const ValueId x = node.input(0);
  const ValueId y = node.output(0);
  const Tensor* starts = request.constant(node.input(1));
  const Tensor* axes = request.constant(node.input(3));
  const Tensor* steps = request.constant(node.input(4));
  const Shape source = request.shape(x);
  if (starts == nullptr || (node.input(3) != kNoValue && axes == nullptr) ||
      (node.input(4) != kNoValue && steps == nullptr) || is_packed(request.dtype(x)) ||
      source.size() > StridedCopy::kMaxRank) {
    return nullptr;
  }
  const size_t element = element_bytes(request, x);
  std::vector<int64_t> from = byte_strides(source, element);
  const std::vector<int64_t> begin = starts->to_i64();
  const auto rank = static_cast<int64_t>(source.size());
  int64_t offset = 0;
  for (size_t i = 0; i < begin.size(); ++i) {
    const int64_t axis =
        axes != nullptr ? normalize_axis(axes->to_i64()[i], rank) : static_cast<int64_t>(i);
    const auto a = static_cast<size_t>(axis);
    const int64_t step = steps != nullptr ? steps->to_i64()[i] : 1;
    const int64_t size = source[a];
    int64_t first = begin[i] < 0 ? begin[i] + size : begin[i];
    first = std::clamp<int64_t>(first, 0, step < 0 ? size - 1 : size);
    offset += first * from[a];
    from[a] *= step;
  }
  const Shape target = request.shape(y);
  return copy_step("slice", x, y,
                   strided_copy(target, from, byte_strides(target, element), element), offset);
}

std::unique_ptr<Step> make_pad(const StepRequest& request) {
  const Node& node = request.node;
  const ValueId x = node.input(0);
  const ValueId y = node.output(0);
  const Tensor* pads = request.constant(node.input(1));
  const Tensor* value = request.constant(node.input(2));
  const Tensor* axes = request.constant(node.input(3));
  const Shape source = request.shape(x);
  const auto rank = static_cast<int64_t>(source.size());
  if (pads == nullptr || (node.input(2) != kNoValue && value == nullptr) ||
      (node.input(3) != kNoValue && axes == nullptr) || is_packed(request.dtype(x)) ||
      node.attributes.get_string("mode", "constant") != "constant" ||
      source.size() > StridedCopy::kMaxRank) {
    return nullptr;
  }
  const size_t element = element_bytes(request, x);
  const Shape target = request.shape(y);
  const std::vector<int64_t> from = byte_strides(source, element);
  const std::vector<int64_t> to = byte_strides(target, element);
  const std::vector<int64_t> amounts = pads->to_i64();
  Shape kept = source;
  int64_t from_offset = 0;
  int64_t to_offset = 0;
  for (size_t i = 0; i < amounts.size() / 2; ++i) {
    const int64_t named = axes != nullptr ? axes->to_i64()[i] : static_cast<int64_t>(i);
    const auto axis = static_cast<size_t>(normalize_axis(named, rank));
    // Negative pads cut off.
    const int64_t begin = amounts[i];
    const int64_t end = amounts[i + amounts.size() / 2];
    kept[axis] += std::min<int64_t>(begin, 0) + std::min<int64_t>(end, 0);
    if (kept[axis] <= 0) return nullptr;  // nothing but padding
    from_offset += std::max<int64_t>(-begin, 0) * from[axis];
    to_offset += std::max<int64_t>(begin, 0) * to[axis];
  }
  std::vector<std::byte> fill(element);
  if (value != nullptr) std::copy_n(value->raw(), element, fill.begin());
  const int64_t count = element_count(target);
  const StridedCopy copy = strided_copy(kept, from, to, element);
  return make_step("pad", [=](const RunContext& context) {
    auto* out = context.at<std::byte>(y);
    fill_elements(out, count, fill);
    copy.run(context.at<const std::byte>(x) + from_offset, out + to_offset);
  });
}

std::unique_ptr<Step> make_gather(const StepRequest& request) {
  const Node& node = request.node;
  const ValueId x = node.input(0);
  const ValueId y = node.output(0);
  const Tensor* indices = request.constant(node.input(1));
  const Shape source = request.shape(x);
  if (indices == nullptr || is_packed(request.dtype(x)) || source.empty()) return nullptr;
  const size_t axis = axis_of(request, static_cast<int64_t>(source.size()), 0);
  const int64_t outer = product(source, 0, axis);
  const int64_t block =
      product(source, axis + 1, source.size()) * static_cast<int64_t>(element_bytes(request, x));
  std::vector<int64_t> list = indices->to_i64();
  for (int64_t& index : list) {
    if (index < -source[axis] || index >= source[axis]) return nullptr;  // reference reports it
    if (index < 0) index += source[axis];
  }
  const int64_t row = source[axis] * block;
  return make_step("gather", [=](const RunContext& context) {
    auto* to = context.at<std::byte>(y);
    for (int64_t o = 0; o < outer; ++o) {
      const std::byte* from = context.at<const std::byte>(x) + o * row;
      for (const int64_t index : list) {
        std::memcpy(to, from + index * block, static_cast<size_t>(block));
        to += block;
      }
    }
  });
}

std::unique_ptr<Step> make_resize(const StepRequest& request) {
  // Nearest, integer factors, over channels-last images: whole pixels are repeated.
  const Node& node = request.node;
  const ValueId x = node.input(0);
  const ValueId y = node.output(0);
  const AttributeMap& attributes = node.attributes;
  const Shape from = request.shape(x);
  const Shape to = request.shape(y);
  const std::string coordinates =
      attributes.get_string("coordinate_transformation_mode", "half_pixel");
  const std::string rounding = attributes.get_string("nearest_mode", "round_prefer_floor");
  const bool repeats = (coordinates == "asymmetric" && rounding == "floor") ||
                       (coordinates == "half_pixel" && rounding.starts_with("round"));
  if (attributes.get_string("mode", "nearest") != "nearest" || !repeats || from.size() != 4 ||
      is_packed(request.dtype(x)) || from[0] != to[0] || from[3] != to[3] ||
      element_count(from) == 0 || to[1] % from[1] != 0 || to[2] % from[2] != 0) {
    return nullptr;
  }
  const int64_t factor_h = to[1] / from[1];
  const int64_t factor_w = to[2] / from[2];
  const auto pixel = static_cast<size_t>(from[3]) * element_bytes(request, x);
  const size_t row = pixel * static_cast<size_t>(to[2]);
  return make_step("resize_nearest", [=](const RunContext& context) {
    const auto* source = context.at<const std::byte>(x);
    auto* target = context.at<std::byte>(y);
    for (int64_t line = 0; line < from[0] * from[1]; ++line) {
      std::byte* first = target;
      for (int64_t column = 0; column < from[2]; ++column, source += pixel) {
        for (int64_t i = 0; i < factor_w; ++i, target += pixel) std::memcpy(target, source, pixel);
      }
      for (int64_t i = 1; i < factor_h; ++i, target += row) std::memcpy(target, first, row);
    }
  });
}

}  // namespace ounce::engine
