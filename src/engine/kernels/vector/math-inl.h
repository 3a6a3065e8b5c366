// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_MATH_INL_H
#undef OUNCE_ENGINE_KERNELS_MATH_INL_H
#else
#define OUNCE_ENGINE_KERNELS_MATH_INL_H
#endif

#include "engine/kernels/vector/simd-inl.h"

// Vector functions of one f32 argument. Polynomials are Chebyshev fits on the stated interval; the
// stated error is the fit's, to which a few roundings of f32 add.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

HWY_INLINE VF constant(float value) {
  return hn::Set(DF(), value);
}

// Horner's rule, highest power first.
template <class... Rest>
HWY_INLINE VF polynomial(VF x, float first, Rest... rest) {
  VF sum = constant(first);
  ((sum = hn::MulAdd(sum, x, constant(rest))), ...);
  return sum;
}

// x where x is NaN, else `y`: range clamps lose NaN, and results must keep it.
HWY_INLINE VF keep_nan(VF x, VF y) {
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

// 2^n for integral n in [-126, 127].
HWY_INLINE VF power_of_two(VI n) {
  const DI di;
  return hn::BitCast(DF(), hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
}

// e^x for x in [-87, 88]: no overflow, underflow or NaN handling.
HWY_INLINE VF exp_in_range(VF x) {
  const VI n = hn::NearestInt(hn::Mul(x, constant(1.44269504F)));
  const VF nf = hn::ConvertTo(DF(), n);
  // ln 2 in two parts; the first has 9 trailing zero bits, so that n * part is exact.
  VF r = hn::NegMulAdd(nf, constant(0.693359375F), x);
  r = hn::NegMulAdd(nf, constant(-2.12194440e-4F), r);
  // (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, error 6.5e-8
  const VF p = polynomial(r, 0.00139261817F, 0.008363178F, 0.0416665561F, 0.166665763F, 0.5F);
  const VF e = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), constant(1.0F));
  return hn::Mul(e, power_of_two(n));
}

// e^x, with 0 below -87.33 (no denormal results), infinity above 88.72, NaN for NaN.
HWY_INLINE VF exp_f32(VF x) {
  const VF clamped = hn::Min(hn::Max(x, constant(-87.0F)), constant(88.8F));
  // The last binade below infinity has n = 128, out of power_of_two's range: halve and square
  // there.
  const VF half_way = hn::Mul(clamped, constant(0.5F));
  const VF big = exp_in_range(half_way);
  VF y = hn::IfThenElse(hn::Gt(clamped, constant(87.0F)), hn::Mul(big, big),
                        exp_in_range(hn::Min(clamped, constant(87.0F))));
  y = hn::IfThenElse(hn::Gt(x, constant(88.722839F)),
                     constant(std::numeric_limits<float>::infinity()), y);
  y = hn::IfThenElse(hn::Lt(x, constant(-87.336544F)), hn::Zero(DF()), y);
  return keep_nan(x, y);
}

// e^x for x <= 0 as softmax needs it: 0 below -87, NaN stays.
HWY_INLINE VF exp_not_positive(VF x) {
  const VF e = exp_in_range(hn::Max(x, constant(-87.0F)));
  return keep_nan(x, hn::IfThenZeroElse(hn::Lt(x, constant(-87.0F)), e));
}

HWY_INLINE VF sigmoid_f32(VF x) {
  // Beyond 87 the result is 1 or below the smallest normal number.
  const VF clamped = hn::Min(hn::Max(x, constant(-87.0F)), constant(87.0F));
  const VF e = exp_in_range(hn::Neg(clamped));
  return keep_nan(x, hn::Div(constant(1.0F), hn::Add(constant(1.0F), e)));
}

HWY_INLINE VF tanh_f32(VF x) {
  const VF a = hn::Abs(x);
  const VF square = hn::Mul(x, x);
  // (tanh(x) - x) / x^3 as a polynomial of x^2 for |x| < 0.63, error 5e-8
  const VF p = polynomial(square, -0.00604516501F, 0.0209613293F, -0.0538432635F, 0.133327186F,
                          -0.333333284F);
  const VF small = hn::MulAdd(hn::Mul(x, square), p, x);
  // From 9 on, 1 - tanh is below half an ulp.
  const VF e = exp_in_range(hn::Mul(constant(2.0F), hn::Min(a, constant(10.0F))));
  const VF large = hn::Sub(constant(1.0F), hn::Div(constant(2.0F), hn::Add(e, constant(1.0F))));
  const VF y = hn::IfThenElse(hn::Lt(a, constant(0.625F)), small, hn::CopySign(large, x));
  return keep_nan(x, y);
}

HWY_INLINE VF erf_f32(VF x) {
  const VF a = hn::Min(hn::Abs(x), constant(4.0F));  // erf(4) rounds to 1
  // erf(x) / x as a polynomial of x^2 for |x| < 1, error 1.2e-9
  const VF p = polynomial(hn::Mul(a, a), 7.87587487e-05F, -0.00080168643F, 0.00518908724F,
                          -0.0268542115F, 0.112835944F, -0.37612626F, 1.12837911F);
  // -log(erfc(x)) on [1, 4], error 1.7e-8
  const VF g = polynomial(a, -1.6371514e-06F, 4.60580413e-05F, -0.00059680565F, 0.0047595962F,
                          -0.0264211353F, 0.110080086F, 0.631826043F, 1.13023341F, -0.00032013806F);
  const VF large = hn::Sub(constant(1.0F), exp_in_range(hn::Neg(g)));
  const VF magnitude = hn::IfThenElse(hn::Lt(a, constant(1.0F)), hn::Mul(a, p), large);
  return keep_nan(x, hn::CopySign(magnitude, x));
}

// x * Phi(x) = max(x, 0) - |x| * Phi(-|x|), with Phi(-a) = exp(-g(a)) / 2: one exponential, and the
// left tail keeps its relative accuracy.
HWY_INLINE VF gelu_erf_f32(VF x) {
  const VF a = hn::Min(hn::Abs(x), constant(6.0F));  // a * Phi(-a) is 6e-9 there
  // g(a) = -log(erfc(a / sqrt 2)) on [0, 6], error 3.3e-7
  const VF g = polynomial(a, 7.78801112e-09F, -2.64963234e-07F, 3.83019142e-06F, -2.93656158e-05F,
                          0.000105270177F, 0.000203285308F, -0.00509608025F, 0.0365700796F,
                          0.318220437F, 0.797897875F, -3.30438837e-07F);
  const VF tail = hn::Mul(hn::Mul(a, constant(0.5F)), exp_in_range(hn::Neg(g)));
  return hn::Sub(at_least(x, hn::Zero(DF())), tail);
}

HWY_INLINE VF gelu_tanh_f32(VF x) {
  // (1 + tanh(u)) / 2 = sigmoid(2 u), u = sqrt(2 / pi) * (x + 0.044715 x^3)
  const VF cubic = hn::MulAdd(hn::Mul(x, x), constant(0.044715F), constant(1.0F));
  return hn::Mul(x, sigmoid_f32(hn::Mul(hn::Mul(constant(1.59576912F), x), cubic)));
}

// Natural logarithm; -infinity at 0, NaN below. Denormal arguments count as 0.
HWY_INLINE VF log_f32(VF x) {
  const DF d;
  const DI di;
  const VI bits = hn::BitCast(di, x);
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2))
  const VI shifted = hn::Sub(bits, hn::Set(di, 0x3F3504F3));
  const VI e = hn::ShiftRight<23>(shifted);
  const VF m = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(e)));
  const VF f = hn::Sub(m, constant(1.0F));
  // (log(1 + f) - f + f^2 / 2) / f^3, error 2.9e-8
  const VF p = polynomial(f, 0.0697161183F, -0.114797339F, 0.116854198F, -0.124256872F,
                          0.142490581F, -0.166678026F, 0.200007156F, -0.24999997F, 0.333333313F);
  const VF square = hn::Mul(f, f);
  const VF ef = hn::ConvertTo(d, e);
  VF y = hn::Mul(hn::Mul(f, square), p);
  y = hn::MulAdd(ef, constant(-2.12194440e-4F), y);
  y = hn::Sub(y, hn::Mul(constant(0.5F), square));
  y = hn::MulAdd(ef, constant(0.693359375F), hn::Add(f, y));
  const float infinity = std::numeric_limits<float>::infinity();
  y = hn::IfThenElse(hn::Eq(x, constant(infinity)), x, y);
  y = hn::IfThenElse(hn::Lt(x, constant(std::numeric_limits<float>::min())), constant(-infinity),
                     y);
  y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), constant(std::numeric_limits<float>::quiet_NaN()), y);
  return keep_nan(x, y);
}

// Calls f(function) with the vector function of an activation, so that the choice is made once
// outside of f's loop.
template <class F>
HWY_INLINE void with_activation(const ActivationSpec& spec, const F& f) {
  const VF alpha = constant(spec.alpha);
  const VF beta = constant(spec.beta);
  const VF zero = hn::Zero(DF());
  const VF one = constant(1.0F);
  switch (spec.kind) {
    case Activation::kNone:
      return f([](VF x) HWY_ATTR { return x; });
    case Activation::kRelu:
      return f([=](VF x) HWY_ATTR { return at_least(x, zero); });
    case Activation::kClip:
      return f([=](VF x) HWY_ATTR { return at_most(at_least(x, alpha), beta); });
    case Activation::kLeakyRelu:
      return f([=](VF x)
                   HWY_ATTR { return hn::IfThenElse(hn::Lt(x, zero), hn::Mul(alpha, x), x); });
    case Activation::kSilu:
      return f([](VF x) HWY_ATTR { return hn::Mul(x, sigmoid_f32(x)); });
    case Activation::kGeluErf:
      return f([](VF x) HWY_ATTR { return gelu_erf_f32(x); });
    case Activation::kGeluTanh:
      return f([](VF x) HWY_ATTR { return gelu_tanh_f32(x); });
    case Activation::kSigmoid:
      return f([](VF x) HWY_ATTR { return sigmoid_f32(x); });
    case Activation::kTanh:
      return f([](VF x) HWY_ATTR { return tanh_f32(x); });
    case Activation::kHardSwish:
      return f([=](VF x) HWY_ATTR {
        const VF gate = hn::MulAdd(x, constant(1.0F / 6.0F), constant(0.5F));
        return hn::Mul(x, at_most(at_least(gate, zero), one));
      });
    case Activation::kHardSigmoid:
      return f([=](VF x)
                   HWY_ATTR { return at_most(at_least(hn::MulAdd(alpha, x, beta), zero), one); });
  }
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
