#include <algorithm>
#include <numeric>

#include "engine/reference/common.h"
#include "engine/reference/families.h"
#include "graph/ops/shape_rules.h"

namespace ounce::engine::reference {
namespace {

void identity(OperatorContext& context) {
  store(context, 0, input(context, 0));
}

/// Inference: the input as it is, and a mask that keeps everything.
void dropout(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const bool training = integer(context, 2, 0) != 0;
  require(!training || number(context, 1, 0.5F) == 0.0F, "training_mode is not supported");
  store(context, 0, x);
  if (!wants_output(context, 1)) return;
  Tensor& mask = output(context, 1, DType::boolean, x.shape());
  std::fill_n(mutable_elements<bool>(mask), mask.size(), true);
}

void cast_operator(OperatorContext& context) {
  const DType to = ops::dtype_from_onnx(context.attributes().get_int("to", 0));
  store(context, 0, cast(input(context, 0), to));
}

void cast_like(OperatorContext& context) {
  store(context, 0, cast(input(context, 0), input(context, 1).dtype()));
}

/// Writes the input's elements under another shape.
void store_reshaped(OperatorContext& context, Shape shape) {
  store(context, 0, input(context, 0).reshaped(std::move(shape)));
}

void reshape(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  Shape shape = integers(context, 1);
  const bool zero_is_zero = context.attributes().get_int("allowzero", 0) != 0;
  int64_t inferred = -1;  // position of the -1
  int64_t known = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && !zero_is_zero) {
      require(i < x.shape().size(), "0 in the shape copies a dimension that is not there");
      shape[i] = x.shape()[i];
    }
    if (shape[i] == -1) {
      require(inferred < 0, "more than one -1 in the shape");
      inferred = static_cast<int64_t>(i);
    } else {
      require(shape[i] >= 0, "negative dimension in the shape");
      known = checked_product(known, shape[i]);
    }
  }
  if (inferred >= 0) {
    require(known > 0 && x.size() % known == 0, "the elements do not fit the shape");
    shape[static_cast<size_t>(inferred)] = x.size() / known;
  }
  store_reshaped(context, std::move(shape));
}

void flatten(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  int64_t axis = context.attributes().get_int("axis", 1);
  if (axis != x.rank()) axis = normalize_axis(axis, x.rank());
  const std::span<const int64_t> shape = x.shape();
  const auto at = static_cast<size_t>(axis);
  store_reshaped(context, {element_count(shape.first(at)), element_count(shape.subspan(at))});
}

void squeeze(OperatorContext& context) {
  const Shape& shape = input(context, 0).shape();
  std::vector<bool> drop(shape.size());
  if (context.has_input(1)) {
    for (const int64_t axis : integers(context, 1)) {
      const auto at = static_cast<size_t>(normalize_axis(axis, static_cast<int64_t>(shape.size())));
      require(shape[at] == 1, "a squeezed dimension is not 1");
      drop[at] = true;
    }
  } else {
    std::transform(shape.begin(), shape.end(), drop.begin(), [](int64_t dim) { return dim == 1; });
  }
  Shape result;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (!drop[i]) result.push_back(shape[i]);
  }
  store_reshaped(context, std::move(result));
}

void unsqueeze(OperatorContext& context) {
  const Shape& shape = input(context, 0).shape();
  const std::vector<int64_t> given = integers(context, 1);
  const auto rank = static_cast<int64_t>(shape.size() + given.size());
  std::vector<int64_t> axes = normalized_axes(given, rank);
  std::sort(axes.begin(), axes.end());
  Shape result = shape;
  for (const int64_t axis : axes) result.insert(result.begin() + axis, 1);
  store_reshaped(context, std::move(result));
}

/// Permutes x, seen as `shape`, into output 0 of shape `result`.
void store_permuted(OperatorContext& context, const Shape& shape,
                    const std::vector<int64_t>& permutation, const Shape& result) {
  const std::vector<int64_t> strides = row_major_strides(shape);
  Shape permuted;
  std::vector<int64_t> walk;
  for (const int64_t axis : permutation) {
    permuted.push_back(shape[static_cast<size_t>(axis)]);
    walk.push_back(strides[static_cast<size_t>(axis)]);
  }
  const Tensor& x = input(context, 0);
  Tensor& y = output(context, 0, x.dtype(), result);
  copy_strided(x, y, permuted, walk);
}

void transpose(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  std::vector<int64_t> reversed(static_cast<size_t>(x.rank()));
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  std::vector<int64_t> permutation = context.attributes().get_ints("perm", reversed);
  require(permutation.size() == reversed.size(), "perm has not one entry a dimension");
  permutation = normalized_axes(std::move(permutation), x.rank());
  Shape shape;
  for (const int64_t axis : permutation) shape.push_back(x.shape()[static_cast<size_t>(axis)]);
  store_permuted(context, x.shape(), permutation, shape);
}

/// [batch, channels, height, width] and the block size, checked.
struct Blocks {
  int64_t n, c, h, w, block;

  explicit Blocks(const OperatorContext& context) {
    const Shape& shape = input(context, 0).shape();
    require(shape.size() == 4, "a 4-dimensional input wanted");
    n = shape[0], c = shape[1], h = shape[2], w = shape[3];
    block = context.attributes().get_int("blocksize", 0);
    require(block > 0 && block < (int64_t{1} << 20), "blocksize out of range");
  }
};

void depth_to_space(OperatorContext& context) {
  const auto [n, c, h, w, block] = Blocks(context);
  require(c % (block * block) == 0, "blocksize^2 does not divide the channels");
  const int64_t depth = c / (block * block);
  const Shape result = {n, depth, h * block, w * block};
  const std::string mode = context.attributes().get_string("mode", "DCR");
  if (mode == "DCR") {
    store_permuted(context, {n, block, block, depth, h, w}, {0, 3, 4, 1, 5, 2}, result);
  } else if (mode == "CRD") {
    store_permuted(context, {n, depth, block, block, h, w}, {0, 1, 4, 2, 5, 3}, result);
  } else {
    fail("mode is '" + mode + "', DCR or CRD wanted");
  }
}

void space_to_depth(OperatorContext& context) {
  const auto [n, c, h, w, block] = Blocks(context);
  require(h % block == 0 && w % block == 0, "blocksize does not divide height and width");
  store_permuted(context, {n, c, h / block, block, w / block, block}, {0, 3, 5, 1, 2, 4},
                 {n, checked_product(c, block * block), h / block, w / block});
}

void shape_operator(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const auto clamp = [&](int64_t at) {
    return std::clamp(at < 0 ? at + x.rank() : at, int64_t{0}, x.rank());
  };
  const int64_t start = clamp(context.attributes().get_int("start", 0));
  const int64_t end = clamp(context.attributes().get_int("end", x.rank()));
  std::vector<int64_t> dims;
  for (int64_t i = start; i < end; ++i) dims.push_back(x.shape()[static_cast<size_t>(i)]);
  store(context, 0, Tensor::of_i64(std::move(dims)));
}

void size_operator(OperatorContext& context) {
  store(context, 0, Tensor::scalar<int64_t>(input(context, 0).size()));
}

void expand(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Shape wanted = integers(context, 1);
  element_count(wanted);
  Tensor& y = output(context, 0, x.dtype(), broadcast_shape(x.shape(), wanted));
  copy_strided(x, y, y.shape(), broadcast_strides(x.shape(), y.shape()));
}

constexpr OperatorEntry kEntries[] = {
    {"Cast", cast_operator},
    {"CastLike", cast_like},
    {"DepthToSpace", unpacked<depth_to_space>},
    {"Dropout", dropout},
    {"Expand", unpacked<expand>},
    {"Flatten", flatten},
    {"Identity", identity},
    {"Reshape", reshape},
    {"Shape", shape_operator},
    {"Size", size_operator},
    {"SpaceToDepth", unpacked<space_to_depth>},
    {"Squeeze", squeeze},
    {"Transpose", unpacked<transpose>},
    {"Unsqueeze", unsqueeze},
};

}  // namespace

std::span<const OperatorEntry> shape_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
