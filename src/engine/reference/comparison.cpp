#include <functional>

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

/// A comparison of two operands of any plain type, giving bool.
template <class Function>
void compare(OperatorContext& context) {
  const Tensor& a = input(context, 0);
  const Tensor& b = input(context, 1);
  require_same_dtype(a, b);
  Tensor& y = output(context, 0, DType::boolean, broadcast_shape(a.shape(), b.shape()));
  with_plain_type(a.dtype(), [&]<class T>(Type<T>) { zip<T, bool>(a, b, y, Function{}); });
}

template <class Function>
void logical(OperatorContext& context) {
  const Tensor& a = input(context, 0);
  const Tensor& b = input(context, 1);
  require(a.dtype() == DType::boolean && b.dtype() == DType::boolean, "bool operands wanted");
  Tensor& y = output(context, 0, DType::boolean, broadcast_shape(a.shape(), b.shape()));
  zip<bool, bool>(a, b, y, Function{});
}

struct XorOf {
  bool operator()(bool a, bool b) const { return a != b; }
};

void not_operator(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  require(x.dtype() == DType::boolean, "bool operand wanted");
  Tensor& y = output(context, 0, DType::boolean, x.shape());
  const bool* from = elements<bool>(x);
  bool* to = mutable_elements<bool>(y);
  for (int64_t i = 0; i < x.size(); ++i) to[i] = !from[i];
}

/// A predicate on floats, giving bool.
template <class Predicate>
void test_floats(OperatorContext& context, Predicate predicate) {
  const Tensor& x = input(context, 0);
  Tensor& y = output(context, 0, DType::boolean, x.shape());
  bool* to = mutable_elements<bool>(y);
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    for (int64_t i = 0; i < x.size(); ++i) to[i] = predicate(from[i]);
  });
}

void is_nan(OperatorContext& context) {
  test_floats(context, [](auto x) { return std::isnan(x); });
}

void is_inf(OperatorContext& context) {
  const bool positive = context.attributes().get_int("detect_positive", 1) != 0;
  const bool negative = context.attributes().get_int("detect_negative", 1) != 0;
  test_floats(context,
              [=](auto x) { return std::isinf(x) && (x > decltype(x){0} ? positive : negative); });
}

void where(OperatorContext& context) {
  const Tensor& condition = input(context, 0);
  const Tensor& yes = input(context, 1);
  const Tensor& no = input(context, 2);
  require(condition.dtype() == DType::boolean, "the condition must be bool");
  require_same_dtype(yes, no);
  const Shape shape = broadcast_shape(broadcast_shape(condition.shape(), yes.shape()), no.shape());
  Tensor& y = output(context, 0, yes.dtype(), shape);
  const bool* choose = elements<bool>(condition);
  with_bits_type(yes.dtype(), [&]<class T>(Type<T>) {
    const T* from_yes = elements<T>(yes);
    const T* from_no = elements<T>(no);
    T* to = mutable_elements<T>(y);
    for_each_broadcast<3>(shape, {&condition.shape(), &yes.shape(), &no.shape()},
                          [&](int64_t i, const std::array<int64_t, 3>& from) {
                            to[i] = choose[from[0]] ? from_yes[from[1]] : from_no[from[2]];
                          });
  });
}

constexpr OperatorEntry kEntries[] = {
    {"And", logical<std::logical_and<bool>>},
    {"Equal", widened<compare<std::equal_to<>>>},
    {"Greater", widened<compare<std::greater<>>>},
    {"GreaterOrEqual", widened<compare<std::greater_equal<>>>},
    {"IsInf", widened<is_inf>},
    {"IsNaN", widened<is_nan>},
    {"Less", widened<compare<std::less<>>>},
    {"LessOrEqual", widened<compare<std::less_equal<>>>},
    {"Not", not_operator},
    {"Or", logical<std::logical_or<bool>>},
    {"Where", unpacked<where>},
    {"Xor", logical<XorOf>},
};

}  // namespace

std::span<const OperatorEntry> comparison_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
