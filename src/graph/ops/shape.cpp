// Operators that move or rename elements without computing: the content of the output is a
// rearrangement of the input's.
#include <algorithm>
#include <limits>

#include "graph/error.h"
#include "graph/ops/families.h"
#include "graph/ops/shape_rules.h"
#include "graph/ops/slice.h"

namespace ounce::ops {

SliceRange resolve_slice(int64_t start, int64_t end, int64_t step, int64_t extent) {
  if (step == 0) throw Error("slice step is 0");
  // Beyond an extent, a longer step selects the same: clamped, it can be negated safely.
  step = std::clamp<int64_t>(step, -kMaxDim, kMaxDim);
  if (start < 0) start += extent;
  if (end < 0) end += extent;
  SliceRange range{.start = 0, .step = step, .count = 0};
  if (step > 0) {
    range.start = std::clamp<int64_t>(start, 0, extent);
    const int64_t stop = std::clamp<int64_t>(end, 0, extent);
    if (stop > range.start) range.count = (stop - range.start - 1) / step + 1;
  } else {
    range.start = std::clamp<int64_t>(start, 0, std::max<int64_t>(extent - 1, 0));
    const int64_t stop = std::clamp<int64_t>(end, -1, extent - 1);
    if (range.start > stop && extent > 0) range.count = (range.start - stop - 1) / -step + 1;
  }
  return range;
}

namespace {

/// The extent that -1 stands for. Unknown dimensions may cancel: [batch, 3, 64] to (0, -1).
Dim remaining_dim(const SymbolicShape& x, const SymbolicShape& y, size_t unknown_at) {
  int64_t x_known = 1;
  int64_t y_known = 1;
  std::vector<Dim> x_open;
  for (const Dim& dim : x) {
    if (dim.known()) {
      x_known = checked_product(x_known, dim.value);
    } else {
      x_open.push_back(dim);
    }
  }
  for (size_t i = 0; i < y.size(); ++i) {
    if (i == unknown_at) continue;
    if (y[i].known()) {
      y_known = checked_product(y_known, y[i].value);
      continue;
    }
    const auto same = std::find(x_open.begin(), x_open.end(), y[i]);
    if (same == x_open.end() || y[i].symbol.empty()) return {};
    x_open.erase(same);
  }
  if (x_open.empty()) {
    if (y_known == 0 || x_known % y_known != 0) {
      throw Error("cannot reshape " + to_string(x) + ": " + std::to_string(y_known) +
                  " does not divide " + std::to_string(x_known));
    }
    return x_known / y_known;
  }
  return x_open.size() == 1 && x_known == y_known ? x_open.front() : Dim();
}

/// The target of a Reshape with 0 entries resolved. `open_at` becomes the index of the entry that
/// the number of elements decides: -1, or the only one that is not known.
SymbolicShape reshape_target(const SymbolicShape* x, const SymbolicInts& wanted, bool allow_zero,
                             size_t& open_at) {
  SymbolicShape y(wanted.size());
  size_t unknown = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i].number) {
      y[i] = wanted[i].dim();
      if (!y[i].symbol.empty()) continue;
      if (unknown++ == 0 && open_at == wanted.size()) open_at = i;
      continue;
    }
    const int64_t number = *wanted[i].number;
    if (number == -1) {
      if (std::count(wanted.begin(), wanted.end(), SymbolicInt(-1)) > 1) {
        throw Error("two entries of the target shape are -1");
      }
      open_at = i;
    } else if (number == 0 && !allow_zero) {
      if (x != nullptr && i >= x->size()) {
        throw Error("the target shape copies dimension " + std::to_string(i) + ", which " +
                    to_string(*x) + " does not have");
      }
      if (x != nullptr) y[i] = (*x)[i];
    } else if (number < 0) {
      throw Error("the target shape holds " + std::to_string(number));
    } else {
      y[i] = checked_range(number, "dimension");
    }
  }
  return y;
}

void infer_reshape(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  const auto wanted = context.contents(1);
  if (!wanted) return;
  const bool allow_zero = context.attributes().get_int("allowzero", 0) != 0;
  size_t open_at = wanted->size();
  SymbolicShape y = reshape_target(x, *wanted, allow_zero, open_at);
  if (x != nullptr && open_at != wanted->size()) y[open_at] = remaining_dim(*x, y, open_at);
  const auto from = x != nullptr ? concrete(*x) : std::nullopt;
  const auto to = concrete(y);
  if (from && to && element_count(*from) != element_count(*to)) {
    throw Error("cannot reshape " + to_string(*from) + " to " + to_string(*to));
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

void infer_transpose(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  const std::vector<int64_t> perm = context.attributes().get_ints("perm");
  SymbolicShape y;
  if (!context.attributes().has("perm")) {
    y.assign(x->rbegin(), x->rend());
  } else {
    if (perm.size() != x->size()) {
      throw Error("perm " + to_string(perm) + " does not fit " + to_string(*x));
    }
    for (const size_t axis : axis_indices(perm, x->size())) y.push_back((*x)[axis]);
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

void infer_flatten(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  int64_t axis = context.attributes().get_int("axis", 1);
  const auto rank = static_cast<int64_t>(x->size());
  if (axis < -rank || axis > rank)
    throw Error("axis " + std::to_string(axis) + " of " + to_string(*x));
  if (axis < 0) axis += rank;
  SymbolicShape y = {1, 1};
  for (int64_t i = 0; i < rank; ++i) {
    Dim& dim = y[i < axis ? 0 : 1];
    dim = dim * (*x)[static_cast<size_t>(i)];
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

void infer_squeeze(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  std::vector<bool> drop(x->size(), false);
  if (context.has_input(1)) {
    const auto listed = constant_ints(context, 1);
    if (!listed) return;
    for (const size_t axis : axis_indices(*listed, x->size())) {
      if ((*x)[axis].known() && (*x)[axis].value != 1) {
        throw Error("cannot squeeze axis " + std::to_string(axis) + " of " + to_string(*x));
      }
      drop[axis] = true;
    }
  } else {
    for (size_t i = 0; i < x->size(); ++i) {
      if (!(*x)[i].known()) return;
      drop[i] = (*x)[i].value == 1;
    }
  }
  SymbolicShape y;
  for (size_t i = 0; i < x->size(); ++i) {
    if (!drop[i]) y.push_back((*x)[i]);
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

void infer_unsqueeze(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  const auto listed = constant_ints(context, 1);
  if (x == nullptr || !listed) return;
  const size_t rank = x->size() + listed->size();
  SymbolicShape y(rank);
  std::vector<bool> added(rank, false);
  for (const size_t axis : axis_indices(*listed, rank)) {
    added[axis] = true;
    y[axis] = 1;
  }
  size_t next = 0;
  for (size_t i = 0; i < rank; ++i) {
    if (!added[i]) y[i] = (*x)[next++];
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

/// The dimensions that a list of integers names; throws for a negative number.
SymbolicShape shape_from(const SymbolicInts& dims) {
  SymbolicShape shape;
  for (const SymbolicInt& dim : dims) {
    if (dim.number && *dim.number < 0) {
      throw Error("negative dimension " + std::to_string(*dim.number));
    }
    if (dim.number) checked_range(*dim.number, "dimension");
    shape.push_back(dim.dim());
  }
  return shape;
}

void infer_expand(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  const auto wanted = context.contents(1);
  if (x == nullptr || !wanted) return;
  context.set_output(0, context.dtype(0), broadcast(*x, shape_from(*wanted)));
}

void infer_tile(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  const auto repeats = context.contents(1);
  if (!repeats) {
    context.set_output(0, context.dtype(0), unknown_dims(x->size()));
    return;
  }
  if (repeats->size() != x->size()) {
    throw Error(std::to_string(repeats->size()) + " repeats do not fit " + to_string(*x));
  }
  const SymbolicShape factors = shape_from(*repeats);
  SymbolicShape y;
  for (size_t i = 0; i < x->size(); ++i) y.push_back((*x)[i] * factors[i]);
  context.set_output(0, context.dtype(0), std::move(y));
}

void infer_concat(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  if (!context.attributes().has("axis")) throw Error("attribute 'axis' is missing");
  std::optional<SymbolicShape> y;
  for (size_t i = 0; i < context.input_count(); ++i) {
    if (context.shape(i) == nullptr) return;
    const SymbolicShape& x = *context.shape(i);
    const size_t axis = axis_index(context.attributes().get_int("axis", 0), x.size());
    if (!y) {
      y = x;
      continue;
    }
    require_rank(x, y->size(), "operand");
    for (size_t d = 0; d < x.size(); ++d) {
      (*y)[d] = d == axis ? (*y)[d] + x[d] : unified((*y)[d], x[d], "concatenated dimensions");
    }
  }
  set_output(context, 0, context.dtype(0), y);
}

/// Extents of the parts; entries are unknown where the axis is.
std::vector<Dim> split_extents(const InferenceContext& context, const Dim& extent) {
  const auto parts = static_cast<int64_t>(context.output_count());
  if (context.has_input(1)) {
    const auto sizes = context.contents(1);
    if (!sizes) return std::vector<Dim>(context.output_count());
    if (sizes->size() != context.output_count()) {
      throw Error(std::to_string(sizes->size()) + " split sizes for " + std::to_string(parts) +
                  " outputs");
    }
    SymbolicShape extents = shape_from(*sizes);
    Dim sum = 0;
    for (const Dim& part : extents) sum = sum + part;
    unified(sum, extent, "sum of split sizes and extent");
    return extents;
  }
  if (context.attributes().get_int("num_outputs", parts) != parts) {
    throw Error("num_outputs is not the number of outputs, " + std::to_string(parts));
  }
  if (!extent.known()) return std::vector<Dim>(context.output_count());
  const int64_t part = (extent.value + parts - 1) / parts;  // all equal but a smaller last one
  const int64_t last = extent.value - part * (parts - 1);
  if (last < 0) {
    throw Error("cannot split " + std::to_string(extent.value) + " into " + std::to_string(parts));
  }
  std::vector<Dim> extents(context.output_count(), Dim(part));
  extents.back() = last;
  return extents;
}

void infer_split(InferenceContext& context) {
  const SymbolicShape* x = context.shape(0);
  std::optional<size_t> axis;
  std::vector<Dim> extents;
  if (x != nullptr) {
    axis = axis_index(context.attributes().get_int("axis", 0), x->size());
    extents = split_extents(context, (*x)[*axis]);
  }
  for (size_t i = 0; i < context.output_count(); ++i) {
    context.set_output(i, context.dtype(0));
    if (!axis) continue;
    SymbolicShape y = *x;
    y[*axis] = extents[i];
    context.set_output(i, context.dtype(0), std::move(y));
  }
}

void infer_slice(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  auto starts = constant_ints(context, 1);
  auto ends = constant_ints(context, 2);
  auto axes = constant_ints(context, 3);
  auto steps = constant_ints(context, 4);
  if ((context.has_input(3) && !axes) || (!axes && !starts)) {
    context.set_output(0, context.dtype(0), unknown_dims(x->size()));
    return;
  }
  const size_t count = axes ? axes->size() : starts->size();
  if (!axes) {
    axes.emplace();
    for (size_t i = 0; i < count; ++i) axes->push_back(static_cast<int64_t>(i));
  }
  if (!context.has_input(4)) steps = std::vector<int64_t>(count, 1);
  for (const auto* list : {&starts, &ends, &axes, &steps}) {
    if (*list && (*list)->size() != count)
      throw Error("starts, ends, axes and steps differ in length");
  }
  SymbolicShape y = *x;
  const std::vector<size_t> indices = axis_indices(*axes, x->size());
  for (size_t i = 0; i < count; ++i) {
    Dim& dim = y[indices[i]];
    const bool known = starts && ends && steps;
    if (known && (*steps)[i] == 0) throw Error("slice step is 0");
    if (known && dim.known()) {
      dim = resolve_slice((*starts)[i], (*ends)[i], (*steps)[i], dim.value).count;
    } else {
      const bool whole = known && (*starts)[i] == 0 && (*steps)[i] == 1 &&
                         (*ends)[i] >= std::numeric_limits<int32_t>::max();
      if (!whole) dim = Dim();
    }
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

void check_padded(const std::string& mode, const Dim& dim, int64_t before, int64_t after) {
  if (!dim.known() || mode == "constant") return;
  const int64_t most = mode == "reflect" ? dim.value - 1 : kMaxDim;
  if ((before > 0 || after > 0) && (dim.value == 0 || before > most || after > most)) {
    throw Error("padding " + std::to_string(std::max(before, after)) + " in mode " + mode +
                " is more than an axis of " + std::to_string(dim.value) + " can give");
  }
}

void infer_pad(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  const std::string mode = context.attributes().get_string("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap") {
    throw Error("unknown padding mode '" + mode + "'");
  }
  const auto pads = constant_ints(context, 1);
  const auto listed = constant_ints(context, 3);
  if (!pads || (context.has_input(3) && !listed)) {
    context.set_output(0, context.dtype(0), unknown_dims(x->size()));
    return;
  }
  std::vector<size_t> axes;
  if (listed) {
    axes = axis_indices(*listed, x->size());
  } else {
    for (size_t i = 0; i < x->size(); ++i) axes.push_back(i);
  }
  if (pads->size() != 2 * axes.size()) {
    throw Error("pads " + to_string(*pads) + " do not fit " + std::to_string(axes.size()) +
                " axes");
  }
  SymbolicShape y = *x;
  for (size_t i = 0; i < axes.size(); ++i) {
    Dim& dim = y[axes[i]];
    const int64_t before = checked_range((*pads)[i], "padding");
    const int64_t after = checked_range((*pads)[i + axes.size()], "padding");
    check_padded(mode, dim, before, after);
    if (before == 0 && after == 0) continue;
    if (!dim.known()) {
      dim = Dim();
      continue;
    }
    const int64_t extent = checked_sum(checked_sum(dim.value, before), after);
    if (extent < 0) throw Error("pads " + to_string(*pads) + " remove more than " + to_string(*x));
    dim = extent;
  }
  context.set_output(0, context.dtype(0), std::move(y));
}

int64_t read_block(const InferenceContext& context) {
  const int64_t block = context.attributes().get_int("blocksize", 0);
  if (block < 1 || block > (1 << 20)) throw Error("blocksize is " + std::to_string(block));
  return block;
}

Dim divided(const Dim& dim, int64_t divisor) {
  if (!dim.known()) return {};
  if (dim.value % divisor != 0) {
    throw Error(std::to_string(divisor) + " does not divide " + std::to_string(dim.value));
  }
  return dim.value / divisor;
}

void infer_depth_to_space(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const int64_t block = read_block(context);
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  require_rank(*x, 4, "input");
  context.set_output(
      0, context.dtype(0),
      {(*x)[0], divided((*x)[1], block * block), (*x)[2] * Dim(block), (*x)[3] * Dim(block)});
}

void infer_space_to_depth(InferenceContext& context) {
  context.set_output(0, context.dtype(0));
  const int64_t block = read_block(context);
  const SymbolicShape* x = context.shape(0);
  if (x == nullptr) return;
  require_rank(*x, 4, "input");
  context.set_output(
      0, context.dtype(0),
      {(*x)[0], (*x)[1] * Dim(block * block), divided((*x)[2], block), divided((*x)[3], block)});
}

void infer_trilu(InferenceContext& context) {
  if (context.shape(0) != nullptr) require_min_rank(*context.shape(0), 2, "input");
  infer_same_as_input(context);
}

/// Only moves memory: no arithmetic.
Cost no_cost(const Node&, std::span<const Value* const>, std::span<const Value* const>) {
  return {};
}

OperatorSchema row(std::string_view name, int min_inputs, int max_inputs, int since,
                   void (*infer)(InferenceContext&)) {
  return {.name = name,
          .min_inputs = min_inputs,
          .max_inputs = max_inputs,
          .since_opset = since,
          .infer = infer,
          .cost = no_cost};
}

const OperatorSchema kRows[] = {
    row("Concat", 1, kVariadic, 11, infer_concat),
    row("DepthToSpace", 1, 1, 11, infer_depth_to_space),
    row("Expand", 2, 2, 8, infer_expand),
    row("Flatten", 1, 1, 11, infer_flatten),
    row("Pad", 2, 4, 11, infer_pad),
    row("Reshape", 2, 2, 5, infer_reshape),
    row("Slice", 3, 5, 10, infer_slice),
    row("SpaceToDepth", 1, 1, 1, infer_space_to_depth),
    {.name = "Split",
     .max_inputs = 2,
     .max_outputs = kVariadic,
     .since_opset = 13,
     .infer = infer_split,
     .cost = no_cost},
    row("Squeeze", 1, 2, 13, infer_squeeze),
    row("Tile", 2, 2, 6, infer_tile),
    row("Transpose", 1, 1, 1, infer_transpose),
    row("Trilu", 1, 2, 14, infer_trilu),
    row("Unsqueeze", 2, 2, 13, infer_unsqueeze),
};

}  // namespace

Family shape_operators() {
  return kRows;
}

}  // namespace ounce::ops
