#include "engine/reference/matmul.h"

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

void matmul(OperatorContext& context) {
  const Tensor& a = input(context, 0);
  const Tensor& b = input(context, 1);
  require_same_dtype(a, b);
  const MatmulShape shape(a.shape(), b.shape());
  Tensor& y = output(context, 0, a.dtype(), shape.output);
  with_number_type(a.dtype(), [&]<class T>(Type<T>) {
    using A = Accumulator<T>;
    T* to = mutable_elements<T>(y);
    multiply<T, A>(shape, elements<T>(a), elements<T>(b),
                   [&](int64_t i, A sum) { to[i] = static_cast<T>(sum); });
  });
}

/// A matrix as it stands, or a transposed copy.
Tensor oriented(const Tensor& x, bool transposed) {
  require(x.rank() == 2, "a matrix wanted");
  if (!transposed) return x;
  const Shape shape = {x.shape()[1], x.shape()[0]};
  Tensor result(x.dtype(), shape);
  copy_strided(x, result, shape, {1, x.shape()[1]});
  return result;
}

/// y = alpha * a' b' + beta * c.
void gemm(OperatorContext& context) {
  const AttributeMap& attributes = context.attributes();
  const Tensor a = oriented(input(context, 0), attributes.get_int("transA", 0) != 0);
  const Tensor b = oriented(input(context, 1), attributes.get_int("transB", 0) != 0);
  require_same_dtype(a, b);
  const double alpha = attributes.get_float("alpha", 1.0F);
  const double beta = attributes.get_float("beta", 1.0F);
  const MatmulShape shape(a.shape(), b.shape());
  Tensor& y = output(context, 0, a.dtype(), shape.output);
  const bool has_bias = context.has_input(2) && beta != 0.0;
  with_number_type(a.dtype(), [&]<class T>(Type<T>) {
    std::vector<double> bias(has_bias ? static_cast<size_t>(y.size()) : 0);
    if (has_bias) {
      const Tensor& c = context.inputs[2];
      require_same_dtype(a, c);
      for_each_broadcast<1>(
          y.shape(), {&c.shape()}, [&](int64_t i, const std::array<int64_t, 1>& at) {
            bias[static_cast<size_t>(i)] = beta * static_cast<double>(elements<T>(c)[at[0]]);
          });
    }
    T* to = mutable_elements<T>(y);
    multiply<T, double>(shape, elements<T>(a), elements<T>(b), [&](int64_t i, double sum) {
      to[i] = saturated<T>(alpha * sum + (has_bias ? bias[static_cast<size_t>(i)] : 0.0));
    });
  });
}

constexpr OperatorEntry kEntries[] = {
    {"Gemm", widened<gemm>},
    {"MatMul", widened<matmul>},
};

}  // namespace

std::span<const OperatorEntry> matmul_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
