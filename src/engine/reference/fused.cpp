#include <algorithm>

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"

/// Operators of the "ounce" domain; RMSNorm, Silu, Binarize and LogQuantize stand with their
/// families.
namespace ounce::engine::reference {
namespace {

/// Shapes of y = softmax(q kT * scale + mask) v with leading dimensions that broadcast.
struct AttentionShape {
  int64_t tokens, keys, head_dim, value_dim;
  Shape batch, output, map;  // map: [batch..., tokens, keys]
  std::vector<int64_t> q_strides, k_strides, v_strides;

  AttentionShape(const Shape& q, const Shape& k, const Shape& v) {
    require(q.size() >= 2 && k.size() >= 2 && v.size() >= 2, "operands of rank >= 2 wanted");
    tokens = q[q.size() - 2], head_dim = q.back();
    keys = k[k.size() - 2], value_dim = v.back();
    require(k.back() == head_dim, "q and k differ in their last dimension");
    require(v[v.size() - 2] == keys, "k and v differ in tokens");
    const auto leading = [](const Shape& shape) { return Shape(shape.begin(), shape.end() - 2); };
    batch = broadcast_shape(broadcast_shape(leading(q), leading(k)), leading(v));
    output = map = batch;
    output.insert(output.end(), {tokens, value_dim});
    map.insert(map.end(), {tokens, keys});
    q_strides = broadcast_strides(leading(q), batch);
    k_strides = broadcast_strides(leading(k), batch);
    v_strides = broadcast_strides(leading(v), batch);
  }
};

/// What is added to each entry of the attention map: 0 without a mask; a bool mask adds -infinity
/// where it is false.
std::vector<float> mask_values(const OperatorContext& context, const Shape& map) {
  if (!context.has_input(3)) return {};
  const Tensor& mask = context.inputs[3];
  std::vector<float> given = mask.to_f32();
  if (mask.dtype() == DType::boolean) {
    for (float& value : given) value = value != 0.0F ? 0.0F : -INFINITY;
  }
  std::vector<float> values(static_cast<size_t>(element_count(map)));
  for_each_broadcast<1>(map, {&mask.shape()}, [&](int64_t i, const std::array<int64_t, 1>& at) {
    values[static_cast<size_t>(i)] = given[static_cast<size_t>(at[0])];
  });
  return values;
}

void softmax_row(std::vector<double>& row) {
  if (row.empty()) return;
  const double highest = *std::max_element(row.begin(), row.end());
  double sum = 0.0;
  for (double& value : row) sum += value = std::exp(value - highest);
  for (double& value : row) value /= sum;
}

template <class T>
double dot(const T* a, const T* b, int64_t count) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

void attention(OperatorContext& context) {
  const Tensor& q = input(context, 0);
  const Tensor& k = input(context, 1);
  const Tensor& v = input(context, 2);
  require_same_dtype(q, k);
  require_same_dtype(q, v);
  const AttentionShape shape(q.shape(), k.shape(), v.shape());
  const std::vector<float> mask = mask_values(context, shape.map);
  const auto default_scale =
      static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  const double scale = context.attributes().get_float("scale", default_scale);
  Tensor& y = output(context, 0, q.dtype(), shape.output);
  with_float_type(q.dtype(), [&]<class T>(Type<T>) {
    T* to = mutable_elements<T>(y);
    std::vector<double> row(static_cast<size_t>(shape.keys));
    std::vector<double> mixed(static_cast<size_t>(shape.value_dim));
    int64_t map_index = 0;
    for (Walker<3> walker(shape.batch, {shape.q_strides, shape.k_strides, shape.v_strides});
         !walker.done(); walker.next()) {
      for (int64_t t = 0; t < shape.tokens; ++t) {
        const T* query = elements<T>(q) + (walker.offset(0) * shape.tokens + t) * shape.head_dim;
        const T* keys = elements<T>(k) + walker.offset(1) * shape.keys * shape.head_dim;
        const T* values = elements<T>(v) + walker.offset(2) * shape.keys * shape.value_dim;
        for (double& score : row) {
          score = dot(query, keys, shape.head_dim) * scale;
          if (!mask.empty()) score += mask[static_cast<size_t>(map_index)];
          keys += shape.head_dim;
          ++map_index;
        }
        softmax_row(row);
        std::fill(mixed.begin(), mixed.end(), 0.0);
        for (const double weight : row) {
          for (double& sum : mixed) sum += weight * static_cast<double>(*values++);
        }
        for (const double sum : mixed) *to++ = static_cast<T>(sum);
      }
    }
  });
}

/// (a, b) -> (a cos - b sin, a sin + b cos) for each pair of features: (i, i + half), or
/// (2i, 2i + 1) when interleaved.
void rotary_embedding(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& cosine = input(context, 1);
  const Tensor& sine = input(context, 2);
  require_same_dtype(x, cosine);
  require_same_dtype(x, sine);
  require(x.rank() >= 1 && x.shape().back() % 2 == 0, "an even head dimension wanted");
  const bool interleaved = context.attributes().get_int("interleaved", 0) != 0;
  const int64_t half = x.shape().back() / 2;
  const int64_t step = interleaved ? 2 : 1;  // between first features of neighbouring pairs
  const int64_t gap = interleaved ? 1 : half;
  Shape pairs = x.shape();
  pairs.back() = half;
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for_each_broadcast<2>(pairs, {&cosine.shape(), &sine.shape()},
                          [&](int64_t i, const std::array<int64_t, 2>& at) {
                            const int64_t first = i / half * 2 * half + i % half * step;
                            const double a = static_cast<double>(from[first]);
                            const double b = static_cast<double>(from[first + gap]);
                            const double c = static_cast<double>(elements<T>(cosine)[at[0]]);
                            const double s = static_cast<double>(elements<T>(sine)[at[1]]);
                            to[first] = static_cast<T>(a * c - b * s);
                            to[first + gap] = static_cast<T>(a * s + b * c);
                          });
  });
}

constexpr OperatorEntry kEntries[] = {
    {"Attention", widened<attention>},
    {"RotaryEmbedding", widened<rotary_embedding>},
};

}  // namespace

std::span<const OperatorEntry> fused_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
