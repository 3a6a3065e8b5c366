#pragma once

#include <algorithm>

#include "engine/reference/common.h"

namespace ounce::engine::reference {

/// numpy matmul: the last two dimensions multiply, those before broadcast; vectors lend a
/// dimension.
struct MatmulShape {
  int64_t m = 1, k = 1, n = 1;
  Shape batch;
  std::vector<int64_t> a_strides, b_strides;  // along `batch`, in matrices
  Shape output;

  MatmulShape(const Shape& a, const Shape& b) {
    require(!a.empty() && !b.empty(), "matrix product of a scalar");
    m = a.size() == 1 ? 1 : a[a.size() - 2];
    n = b.size() == 1 ? 1 : b.back();
    k = a.back();
    if ((b.size() == 1 ? b[0] : b[b.size() - 2]) != k) {
      fail("inner dimensions of " + to_string(a) + " x " + to_string(b) + " differ");
    }
    const std::span<const int64_t> a_batch(a.data(), a.size() < 2 ? 0 : a.size() - 2);
    const std::span<const int64_t> b_batch(b.data(), b.size() < 2 ? 0 : b.size() - 2);
    batch = broadcast_shape(a_batch, b_batch);
    a_strides = broadcast_strides(a_batch, batch);
    b_strides = broadcast_strides(b_batch, batch);
    output = batch;
    if (a.size() > 1) output.push_back(m);
    if (b.size() > 1) output.push_back(n);
  }
};

/// Calls `emit(index of the output element, sum)` for each element of a [.., m, k] times b
/// [.., k, n], with A-typed sums of products in the order of k.
template <class T, class A, class Emit>
void multiply(const MatmulShape& shape, const T* a, const T* b, Emit&& emit) {
  std::vector<A> sums(static_cast<size_t>(shape.n));
  int64_t index = 0;
  for (Walker<2> walker(shape.batch, {shape.a_strides, shape.b_strides}); !walker.done();
       walker.next()) {
    for (int64_t i = 0; i < shape.m; ++i) {
      const T* row = a + (walker.offset(0) * shape.m + i) * shape.k;
      const T* matrix = b + walker.offset(1) * shape.k * shape.n;
      std::fill(sums.begin(), sums.end(), A{0});
      for (int64_t p = 0; p < shape.k; ++p) {
        const A factor = static_cast<A>(row[p]);
        for (int64_t j = 0; j < shape.n; ++j) {
          sums[static_cast<size_t>(j)] += factor * static_cast<A>(matrix[p * shape.n + j]);
        }
      }
      for (const A sum : sums) emit(index++, sum);
    }
  }
}

}  // namespace ounce::engine::reference
