#include <functional>

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

template <class Function>
void bitwise(OperatorContext& context, Function function) {
  const Tensor& a = input(context, 0);
  const Tensor& b = input(context, 1);
  require_same_dtype(a, b);
  Tensor& y = output(context, 0, a.dtype(), broadcast_shape(a.shape(), b.shape()));
  with_integer_type(a.dtype(), [&]<class T>(Type<T>) { zip<T, T>(a, b, y, function); });
}

template <class Function>
void bitwise_binary(OperatorContext& context) {
  bitwise(context, Function{});
}

void bitwise_not(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_integer_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (int64_t i = 0; i < x.size(); ++i) to[i] = static_cast<T>(~from[i]);
  });
}

/// Shifts by the operand's width or more give 0.
void bit_shift(OperatorContext& context) {
  const std::string direction = context.attributes().get_string("direction", "");
  require(direction == "LEFT" || direction == "RIGHT", "direction must be LEFT or RIGHT");
  const bool left = direction == "LEFT";
  bitwise(context, [left]<class T>(T value, T by) {
    if (by < T{0} || static_cast<uint64_t>(by) >= sizeof(T) * 8) return T{0};
    const auto bits = static_cast<uint64_t>(value);
    return static_cast<T>(left ? bits << by : bits >> by);
  });
}

constexpr OperatorEntry kEntries[] = {
    {"BitShift", bit_shift},
    {"BitwiseAnd", bitwise_binary<std::bit_and<>>},
    {"BitwiseNot", bitwise_not},
    {"BitwiseOr", bitwise_binary<std::bit_or<>>},
    {"BitwiseXor", bitwise_binary<std::bit_xor<>>},
};

}  // namespace

std::span<const OperatorEntry> bitwise_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
