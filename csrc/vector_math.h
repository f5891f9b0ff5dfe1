// exp2, softplus and sigmoid of a vector. benchmarks/ops/fit_polynomials.py prints the coefficients and their errors.
#pragma once
#include "vector.h"
#if defined(__AVX512DQ__)
#include <immintrin.h>
#endif

namespace {

constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLn2 = 0.693147180559945309f;

// Adding and subtracting 1.5 * 2^23 rounds a float of magnitude below 2^22 to an integer, which then stands in the low
// bits of the sum. -ffast-math would remove it; the build does not use that.
constexpr float kRounder = 12582912.0f;

// 2^f for f in [-1/2, 1/2], relative error 2e-7. Exactly 1 at f = 0, and fitted for the least relative error of 1 - 2^f
// (5e-7): in a decay a = 2^x the error of 1 - a counts, because the memory length 1 / (1 - a) multiplies it.
AUDIOMAMBA_INLINE Vec exp2_reduced(Vec f) {
  Vec p = splat(1.333353925e-03f) * f + splat(9.666245431e-03f);
  p = p * f + splat(5.550500378e-02f);
  p = p * f + splat(2.402235121e-01f);
  p = p * f + splat(6.931471229e-01f);
  return p * f + splat(1.0f);
}

// Multiply by 2^n, for n a small integer held in the low bits of `shifted` (a sum with kRounder).
AUDIOMAMBA_INLINE Vec scale_by_power(Vec p, Vec shifted) {
  return (Vec)((IntVec)p + ((IntVec)shifted << 23));
}

// 2^x for any x: 0 below -150, infinity above 128, NaN for NaN.
AUDIOMAMBA_INLINE Vec exp2_any(Vec x) {
#if defined(__AVX512DQ__)
  __m512 f = _mm512_reduce_ps((__m512)x, 8);  // x minus the nearest integer, no exceptions
  return (Vec)_mm512_scalef_ps((__m512)exp2_reduced((Vec)f), (__m512)(x - (Vec)f));
#else
  Vec bounded = at_most(at_least(x, -160.0f), 160.0f);
  Vec shifted = bounded + splat(kRounder);
  Vec n = shifted - splat(kRounder);
  Vec half = n * splat(0.5f) + splat(kRounder);  // 2^n = 2^(half) * 2^(n - half), both in range
  Vec rest = n - (half - splat(kRounder)) + splat(kRounder);
  Vec p = scale_by_power(exp2_reduced(bounded - n), half);
  Vec scaled = p * scale_by_power(splat(1.0f), rest);
  return x != x ? x : scaled;
#endif
}

// Whether exp2_product is fast but right only for |d * a| below kProductLimit.
#if defined(__AVX512DQ__)
constexpr bool kProductIsLimited = false;
#else
constexpr bool kProductIsLimited = true;
#endif
constexpr float kProductLimit = 125.0f;

// 2^(d * a). Unless `Any`, |d * a| is below kProductLimit or the instruction set has no limit.
template <bool Any>
AUDIOMAMBA_INLINE Vec exp2_product(Vec d, Vec a) {
#if !defined(__AVX512DQ__)
  if constexpr (!Any) {
    Vec shifted = d * a + splat(kRounder);
    Vec f = d * a - (shifted - splat(kRounder));
    return scale_by_power(exp2_reduced(f), shifted);
  }
#endif
  return exp2_any(d * a);
}

AUDIOMAMBA_INLINE Vec exp_any(Vec x) { return exp2_any(x * splat(kLog2E)); }

// log(1 + x) for x in [0, 1], relative error 3e-7.
AUDIOMAMBA_INLINE Vec log1p_unit(Vec x) {
  Vec y = x + splat(1.0f);
  Vec lost = x - (y - splat(1.0f));                   // what rounding y took away
  IntVec exponent = ((IntVec)y - 0x3f3504f3) >> 23;   // 0x3f3504f3 is sqrt(1/2): y = 2^exponent * m, m near 1
  Vec s = (Vec)((IntVec)y - (exponent << 23)) - splat(1.0f);
  Vec p = splat(8.722360432e-02f) * s + splat(-1.436684877e-01f);
  p = p * s + splat(1.495226771e-01f);
  p = p * s + splat(-1.656239182e-01f);
  p = p * s + splat(1.995683312e-01f);
  p = p * s + splat(-2.500207424e-01f);
  p = p * s + splat(3.333418667e-01f);
  p = p * s + splat(-4.999998808e-01f);
  p = p * s + splat(1.0f);
  return __builtin_convertvector(exponent, Vec) * splat(kLn2) + (p * s + lost / y);
}

// log(1 + e^x). Above 20 it equals x in float32, which is what PyTorch's threshold does.
AUDIOMAMBA_INLINE Vec softplus(Vec x) { return at_least(x, 0.0f) + log1p_unit(exp_any(-absolute(x))); }

AUDIOMAMBA_INLINE Vec sigmoid(Vec x) { return splat(1.0f) / (splat(1.0f) + exp_any(-x)); }

}  // namespace
